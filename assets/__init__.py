"""Dagster: thin wrappers around the domain library, and the one ``Definitions``."""
