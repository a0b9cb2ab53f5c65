"""Tensors: the conditioned session model, its objectives, training, scoring and checkpoints.

Shapes stand in names: B sessions of a batch, T positions, P real (unpadded) positions, D width,
I items, N negatives, O objectives, K items of a list.
"""
