"""The HTTP server: routes, schemas, authentication and metrics."""
