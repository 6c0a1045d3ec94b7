"""How a large network fares locally: network-wide minima say little in a network of many kilometres."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import cKDTree


def local_minimum(
    position: Float[ndarray, "ue 3"], value: Float[ndarray, " ue"], radius: float = 500.0
) -> Float[ndarray, " ue"]:
    """Smallest value (a rate, an SINR) among the UEs within `radius` (m, horizontally) of each UE, itself included."""
    tree = cKDTree(position[:, :2])
    pairs = tree.sparse_distance_matrix(tree, radius, output_type="ndarray")
    smallest = value.copy()
    np.minimum.at(smallest, pairs["i"], value[pairs["j"]])
    return smallest
