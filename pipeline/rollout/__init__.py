"""The rollout of a candidate in stages: its events, its state, its decisions. Imports neither torch nor DuckDB."""
