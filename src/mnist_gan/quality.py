"""Distances and scores of generated images, as pure functions on feature matrices, in float64.

Features are ``[N, D]``, one row an image; probabilities are ``[N, K]``, rows summing to one.
"""

import torch
from torch import Tensor


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Squared Fréchet distance between Gaussians fitted to both feature sets, in squared feature units; 0 is best.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2): Dowson and Landau 1982, equation 4, in the form of
    Heusel et al. 2017 (arXiv 1706.08500, equation 6). The inner product is symmetric, so its root's trace is a
    sum over the roots of eigenvalues.
    """
    features, reference = features.double(), reference.double()
    root = symmetric_root(torch.cov(reference.T))
    covariance = torch.cov(features.T)
    roots = torch.linalg.eigvalsh(root @ covariance @ root).clamp(min=0).sqrt()
    shift = (features.mean(dim=0) - reference.mean(dim=0)).square().sum()
    distance: float = (shift + covariance.trace() + root.square().sum() - 2 * roots.sum()).item()
    return distance


def symmetric_root(matrix: Tensor) -> Tensor:
    """The square root of a symmetric positive semidefinite matrix ``[D, D]``."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root


def kernel_distance(features: Tensor, reference: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x.y / D + 1)^3; 0 is best, noise may fall below.

    Gretton et al. 2012 (JMLR 13, lemma 6, the unbiased estimate) with the kernel of
    Binkowski et al. 2018 (arXiv 1801.01401, section 4).
    """
    features, reference = features.double(), reference.double()
    cross = kernel_sum(features, reference) / (len(features) * len(reference))
    return _mean_of_pairs(features) + _mean_of_pairs(reference) - 2 * cross


def kernel_sum(left: Tensor, right: Tensor, rows: int = 1000) -> float:
    """Sum of the cubic kernel over all pairs of a row of ``left`` and a row of ``right``, some rows at a time."""
    total: float = sum(((block @ right.T) / left.shape[1] + 1).pow(3).sum().item() for block in left.split(rows))
    return total


def _mean_of_pairs(features: Tensor) -> float:
    """Mean of the cubic kernel over all pairs of two different rows."""
    itself: float = (features.square().sum(dim=1) / features.shape[1] + 1).pow(3).sum().item()
    return (kernel_sum(features, features) - itself) / (len(features) * (len(features) - 1))


def class_histogram(probabilities: Tensor) -> Tensor:
    """The part of the images whose most probable class is each of the K: ``[K]``, summing to one."""
    counts = probabilities.argmax(dim=1).bincount(minlength=probabilities.shape[1])
    return counts.double() / len(probabilities)


def total_variation(histogram: Tensor, reference: Tensor) -> float:
    """Half of the summed absolute differences of two histograms ``[K]``: 0 is equal, 1 is disjoint."""
    return ((histogram - reference).abs().sum() / 2).item()


def classifier_score(probabilities: Tensor) -> float:
    """Exp of the mean KL divergence of p(y|x) from p(y): 1 is worst, K is best.

    The Inception Score of Salimans et al. 2016 (arXiv 1606.03498, section 4), with the judge in Inception's place.
    """
    probabilities = probabilities.double()
    marginal = probabilities.mean(dim=0)
    divergence = (torch.xlogy(probabilities, probabilities) - torch.xlogy(probabilities, marginal)).sum(dim=1)
    return divergence.mean().exp().item()
