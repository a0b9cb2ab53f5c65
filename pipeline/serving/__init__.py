"""The recommendation endpoint and its event log."""
