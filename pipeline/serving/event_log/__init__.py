"""The log of impressions and events: durable, deduplicated, optionally copied to Kafka."""
