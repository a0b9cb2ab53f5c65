"""Data quality: the rules of the artifacts, and their runner over DuckDB."""
