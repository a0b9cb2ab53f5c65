"""The HTTP server: routes, schemas, authentication, metrics."""
