"""Muon: a step that is as long in every direction of a weight's matrix (Jordan et al. 2024).

Adam weighs each entry of a gradient alone. A convolution's weight is a matrix from what its taps read to what it
writes, and the gradient of a discriminator's has a few directions that drown the rest. Muon makes all its singular
values one, which is the steepest descent where a step is measured by the spectral norm (Bernstein and Newhouse 2024,
arXiv 2409.20325, proposition 5).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Jordan's coefficients: applied five times, they bring what is between 0.002 and 1 to between 0.68 and 1.21."""
ITERATIONS = 5
LENGTH = 0.5
"""The root mean square of a step's entries as a part of the learning rate. Adam's is between 0.2 and 0.4 of it (Liu et
al. 2025, arXiv 2502.16982, section 2.2) where its first moment decays slowly, and one where there is none."""


class Muon:
    """For the weights ``[D, ...]`` of which each is a matrix ``[D, K]``."""

    def __init__(self, weights: Sequence[Tensor], lr: Tensor, momentum: float) -> None:
        """Begin with moments of zero.

        Args:
            lr: the learning rate, read at each step.
            momentum: decay of the moving average of gradients.
        """
        self.parameters = list(weights)
        self.state = {"average": [torch.zeros_like(weight) for weight in self.parameters]}
        self.lr = lr
        self.momentum = momentum

    @torch.no_grad()
    def step(self) -> None:
        """Change the weights by their gradients, and forget these."""
        for weight, average in zip(self.parameters, self.state["average"], strict=True):
            assert weight.grad is not None
            average.lerp_(weight.grad, 1 - self.momentum)
            matrix = average.flatten(1)
            scale = LENGTH * max(matrix.shape) ** 0.5
            weight -= self.lr * scale * orthogonal(matrix).view_as(weight)
            weight.grad = None


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix ``[D, K]`` with singular values of about one and the same singular vectors.

    By Newton and Schulz's iteration, as a polynomial of the smaller of its Gram matrices: one product with the matrix
    itself, where the usual form has two for each iteration.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.t()).t()
    wide = matrix / (matrix.norm() + 1e-12)
    first, third, fifth = QUINTIC
    gram, product = wide @ wide.t(), None
    for _ in range(ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=third, alpha=fifth)
        factor.diagonal().add_(first)
        product = factor if product is None else factor @ product
        gram = factor @ gram @ factor
    assert product is not None
    found: Tensor = product @ wide
    return found
