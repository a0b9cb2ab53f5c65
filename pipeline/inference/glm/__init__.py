"""Generalised linear models on group counts."""
