"""The losses that a preference weighs."""
