"""From a request to a recommendation list."""
