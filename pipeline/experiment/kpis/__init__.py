"""Online KPIs per group with user-level sufficient statistics."""
