"""Ingestion of a log that is in a warehouse: rules and sums are computed there, and only sums leave it."""
