"""Online KPIs per group with per-user sufficient statistics."""
