"""Optimal design: which candidates, with what shares, say most of the slopes, within guardrails."""
