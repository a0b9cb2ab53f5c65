"""Shared by all rooms: errors, table contracts, metric and KPI names, the asset graph."""
