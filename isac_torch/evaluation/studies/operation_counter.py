"""A counter of the multiplications, with an addition each, of the linear algebra that torch runs."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
_PRODUCTS = (_ATEN.mm, _ATEN.addmm, _ATEN.bmm, _ATEN.baddbmm)
_FACTORS = {_ATEN.linalg_cholesky_ex: 6.0, _ATEN.linalg_lu_factor_ex: 3.0}
"""Factorisations of a matrix of size n, and by what n^3 is divided."""


class OperationCounter(TorchDispatchMode):
    """Counts what runs inside its `with` block: products of matrices, Cholesky and LU factorisations, and their solutions.

    A factorisation of size n counts n^3/6 (Cholesky) or n^3/3 (LU), a solution n^2 for each right-hand side. Elementwise
    operations and sums are not counted.

    Attributes:
        products: multiplications of products.
        systems: multiplications of factorisations and solutions.
        factorised: matrices factorised.
        solved: right-hand sides solved.

    Example:
        >>> import torch
        >>> with OperationCounter() as counter:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 5)
        >>> counter.products
        30
    """

    def __init__(self) -> None:
        """Nothing counted yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.products, self.systems, self.factorised, self.solved = 0, 0.0, 0, 0

    @property
    def total(self) -> float:
        """Multiplications of all that is counted."""
        return self.products + self.systems

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operation of torch and run it."""
        operation = func.overloadpacket
        if operation in _PRODUCTS:
            left, right = args[-2:]
            self.products += left.numel() * right.shape[-1]
        elif operation in _FACTORS:
            matrices, size = args[0].shape[:-2].numel(), args[0].shape[-1]
            self.factorised += matrices
            self.systems += matrices * size**3 / _FACTORS[operation]
        elif operation in (_ATEN.cholesky_solve, _ATEN.linalg_lu_solve):
            right = args[0] if operation is _ATEN.cholesky_solve else args[2]
            vectors = right.numel() // right.shape[-2]
            self.solved += vectors
            self.systems += vectors * right.shape[-2] ** 2
        return func(*args, **(kwargs or {}))
