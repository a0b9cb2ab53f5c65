"""Sentences and numbers of the report."""
