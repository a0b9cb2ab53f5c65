"""The conditioned session model."""
