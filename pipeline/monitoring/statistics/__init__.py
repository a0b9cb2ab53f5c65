"""Statistics of live monitoring, as pure functions."""
