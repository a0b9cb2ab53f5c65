"""Dagster: thin assets around :mod:`pipeline.steps`, and the one ``Definitions``."""
