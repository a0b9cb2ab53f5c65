"""The Pareto front explorer."""
