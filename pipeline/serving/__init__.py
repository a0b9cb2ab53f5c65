"""The endpoint: every group served by one network, and a log that can be trusted."""
