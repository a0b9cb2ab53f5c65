"""Training of R(x, π): the loop, validation, resumption and distributed training."""
