"""Decisions of a rollout: comparisons of the arms, what guardrails say, and the next step."""
