"""Several experiments together."""
