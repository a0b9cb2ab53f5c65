"""Clicks attributed to impressions, and orders to clicks."""
