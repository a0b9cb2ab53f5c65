"""The chain without an orchestrator: one function per asset, which reads, checks and publishes it."""
