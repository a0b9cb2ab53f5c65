"""Sessions prepared on a Spark cluster, by the rules of :mod:`pipeline.sessions.prepare`; the same files."""
