"""Tensors: the conditioned session model, its objectives, training, scoring and checkpoints.

Suffixes of names are shapes: B sessions of a batch, T positions, P real (unpadded) positions, D width,
I items, N negatives, O objectives, K items of a list.
"""
