"""Fitting R(x, π): the loop, what chooses the epoch, how a run is resumed, several processes."""
