"""Tensors: the conditioned session model, its objectives, training, scoring and checkpoints.

Suffixes of names are shapes: B sessions of a batch, T positions, P real (unpadded) positions, D width,
I items, N negatives, O objectives, K items of a list.
"""

import os

# Threads that spin for long while they wait for each other lose most of their time where other processes
# want the cores; those that sleep at once lose a third alone (benchmarks/results/busy.md). So they spin
# briefly, unless the environment says otherwise. OpenMP reads this when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
