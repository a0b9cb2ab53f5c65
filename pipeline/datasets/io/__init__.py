"""Files read in blocks, parquet written in pieces."""
