"""The log of impressions, clicks and orders: read, validated, ingested."""
