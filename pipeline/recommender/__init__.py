"""The conditioned model fitted to sessions, and its recommendation lists."""
