"""From raw logs to sessions: adapters, cleaning, temporal split, labels, the token store."""
