"""The synthetic shop: its items, its users, and how they move through it."""
