"""What a study writes: where it is, how it is written whole, where it comes from."""
