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


def extrapolated_frechet_distance(features: Tensor, reference: Tensor, sizes: int = 8) -> float:
    """The Fréchet distance that infinitely many samples of ``features`` would have.

    A line through the distances of growing parts of ``features`` over 1/N, read at zero: Chong and Forsyth 2020
    (arXiv 1911.07023, section 4). The rows of ``features`` must be in no order, as generated images are.
    """
    counts = torch.linspace(len(features) / 4, len(features), sizes, dtype=torch.float64).long()
    distances = torch.tensor([[frechet_distance(features[:count], reference)] for count in counts], dtype=torch.float64)
    line = torch.stack([torch.ones(sizes, dtype=torch.float64), 1 / counts.double()], dim=1)
    intercept: float = torch.linalg.lstsq(line, distances).solution[0].item()
    return intercept


def radii(features: Tensor, k: int) -> Tensor:
    """Distance of every row to its ``k``-th nearest other row: ``[N]``. ``k`` is less than N."""
    features = features.double()
    return torch.cat([torch.cdist(block, features).kthvalue(k + 1).values for block in features.split(1000)])


def neighbourhoods(features: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """In how many of the balls around ``centres`` ``[M, D]`` with ``radii`` ``[M]`` each row lies: ``[N]``.

    The part above zero is precision, with centres and k = 3 of the reference, and recall with both sets exchanged:
    Kynkaanniemi et al. 2019 (arXiv 1904.06991, equations 1 and 2). The mean over k is density, k = 5:
    Naeem et al. 2020 (arXiv 2002.09797, equation 3).
    """
    features, centres = features.double(), centres.double()
    return torch.cat([(torch.cdist(block, centres) <= radii).sum(dim=1) for block in features.split(1000)])


def nearest(features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Distance ``[N]`` of every row to the nearest row of ``reference``, and that row's index ``[N]``.

    The part of the reference whose nearest feature lies within its own radius, k = 5, is coverage:
    Naeem et al. 2020 (arXiv 2002.09797, equation 4).
    """
    features, reference = features.double(), reference.double()
    found = [torch.cdist(block, reference).min(dim=1) for block in features.split(1000)]
    return torch.cat([block.values for block in found]), torch.cat([block.indices for block in found])
