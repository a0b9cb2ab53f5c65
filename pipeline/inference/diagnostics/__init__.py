"""Whether the experiment can be trusted at all."""
