"""Small linear systems, one a network."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def solved(
    matrix: Float[ndarray, "drop unknown unknown"], right: Float[ndarray, "drop unknown side"]
) -> Float[ndarray, "drop unknown side"]:
    """Solutions drop by drop; NaN for a drop whose matrix is singular, whatever the others' are."""
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        if len(matrix) == 1:
            return np.full_like(right, np.nan)
        return np.concatenate([solved(matrix[one : one + 1], right[one : one + 1]) for one in range(len(matrix))])
