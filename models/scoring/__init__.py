"""Ranks, losses and recommendation lists of a trained model."""
