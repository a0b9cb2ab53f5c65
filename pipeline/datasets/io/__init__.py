"""Reading files by blocks and writing parquet piece by piece."""
