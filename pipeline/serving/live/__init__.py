"""The live page: what the monitor and the rollout say now."""
