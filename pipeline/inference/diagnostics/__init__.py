"""Diagnostics of the experiment."""
