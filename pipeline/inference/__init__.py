"""From metrics and KPIs to slopes, with the assumptions they rest on."""
