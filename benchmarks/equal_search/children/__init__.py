"""Programs of others, run by an interpreter of their own; nothing here imports the project."""
