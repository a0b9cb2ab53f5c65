"""Ranking: from a session and a preference to a recommendation list."""
