"""Training and scoring on a Ray cluster, by the functions that do it on one machine."""
