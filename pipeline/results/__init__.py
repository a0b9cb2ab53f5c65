"""The typed result of an analysis."""
