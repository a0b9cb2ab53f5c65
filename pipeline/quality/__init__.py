"""What must hold for an artifact: the rules, and their runner over DuckDB."""
