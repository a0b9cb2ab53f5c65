"""The headline of a hypothesis: the slope, and the interval that its verdict is based on."""
