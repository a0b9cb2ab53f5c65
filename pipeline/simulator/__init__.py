"""Simulated experiments, for studies without live traffic."""
