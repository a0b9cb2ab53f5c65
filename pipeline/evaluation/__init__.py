"""Offline metrics for every preference, and the front they span."""
