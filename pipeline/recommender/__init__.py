"""Training of the conditioned model, and its recommendation lists."""
