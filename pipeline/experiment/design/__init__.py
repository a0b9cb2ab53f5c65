"""Groups, preferences and assignment: what an experiment looks like before it starts."""
