"""The domain library; works without Dagster."""
