"""A study's files: their paths, atomic writes, provenance and reference results."""
