"""The experiment log: read, validated and ingested into DuckDB, clicks and orders attributed."""
