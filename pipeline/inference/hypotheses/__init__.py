"""From group KPIs and metrics to verdicts."""
