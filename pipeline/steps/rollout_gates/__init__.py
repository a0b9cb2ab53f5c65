"""The gates of a candidate, and the rollout plan that exists if none of them fails."""
