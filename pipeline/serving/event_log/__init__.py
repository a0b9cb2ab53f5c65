"""The log that the endpoint writes."""
