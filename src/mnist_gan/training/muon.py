"""Muon: a step that is as long in every direction of a weight's matrix (Jordan et al. 2024).

A convolution's weight is a matrix from what its taps read to what it writes. Muon steps along the gradient's singular
vectors, whatever the singular values: the steepest descent where a step is measured by the spectral norm (Bernstein and
Newhouse 2024, arXiv 2409.20325). ``torch.optim.Muon`` does so with matrices alone, and imports torch's compiler.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Jordan's coefficients: applied five times, they bring what is between 0.002 and 1 to between 0.68 and 1.21."""
ITERATIONS = 5
LENGTH = 0.5
"""The root mean square of a step's entries as a part of the learning rate, so that one rate suits Adam and Muon."""


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
        """Change the weights that have gradients by these, and forget them; the others stay as they are."""
        for weight, average in zip(self.parameters, self.state["average"], strict=True):
            if weight.grad is None:
                continue
            average.lerp_(weight.grad, 1 - self.momentum)
            matrix = average.flatten(1)
            scale = LENGTH * max(matrix.shape) ** 0.5
            weight -= self.lr * scale * orthogonal(matrix).view_as(weight)
            weight.grad = None


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix ``[D, K]`` with singular values of about one and the same singular vectors.

    By Newton and Schulz's iteration, as a polynomial of the smaller of its Gram matrices: the matrix itself is in two
    products, where the usual form has it in two for each iteration.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.t()).t()
    wide = matrix / (matrix.norm() + 1e-12)
    first, third, fifth = QUINTIC
    gram = wide @ wide.t()
    product = torch.eye(len(gram), device=gram.device)
    for _ in range(ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=third, alpha=fifth)
        factor.diagonal().add_(first)
        product = factor @ product
        gram = factor @ gram @ factor
    found: Tensor = product @ wide
    return found
