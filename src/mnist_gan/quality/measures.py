"""Distances and scores of generated images, as pure functions on feature matrices, in float64.

Features are ``[N, D]``, one row an image; probabilities are ``[N, K]``, rows summing to one. A measure returns one
value for each of R resamples of the images, ``counts`` ``[R, N]`` of ``resamples``: the first is the images as they
are, and the spread of the others is its uncertainty. Without ``counts`` there is the first alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

VERSION = 1
"""Raised with every change that gives other numbers."""
ROWS = 1000
"""Rows of a large product or table of distances that are in memory at a time."""


def resamples(images: int, replicates: int, seed: int = 0) -> Tensor:
    """How often each image falls into each resample, float64 ``[1 + replicates, images]``.

    The first row is ones, the others draw as many images with replacement: the bootstrap of Efron 1979
    (Annals of Statistics 7, section 2).
    """
    draws = torch.randint(images, (replicates, images), generator=torch.Generator().manual_seed(seed))
    counts = torch.zeros(replicates, images, dtype=torch.float64)
    counts.scatter_add_(1, draws, torch.ones_like(counts))
    return torch.cat([torch.ones(1, images, dtype=torch.float64), counts])


def average(values: Tensor, counts: Tensor | None = None) -> Tensor:
    """Mean of ``values`` ``[N]`` or ``[N, K]`` in each resample: ``[R]`` or ``[R, K]``."""
    counts = resamples(len(values), 0) if counts is None else counts
    return counts @ values.double() / counts.sum(dim=1).view(-1, *[1] * (values.dim() - 1))


def frechet_distance(features: Tensor, reference: Tensor, counts: Tensor | None = None) -> Tensor:
    """Squared Fréchet distance between Gaussians fitted to both feature sets, in squared feature units; 0 is best.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2): Dowson and Landau 1982, equation 4, in the form of
    Heusel et al. 2017 (arXiv 1706.08500, equation 6). The inner product is symmetric, so its root's trace is a
    sum over the roots of eigenvalues.
    """
    return frechet_distances(features, reference, [len(features)], counts)[:, 0]


def growing_parts(images: int, sizes: int = 5) -> list[int]:
    """Numbers of images from a quarter of them to all, evenly spread."""
    return torch.linspace(images / 4, images, sizes, dtype=torch.float64).long().tolist()


def extrapolate(parts: list[int], distances: Tensor) -> Tensor:
    """The Fréchet distance ``[R]`` that infinitely many images would have, from ``distances`` ``[R, S]`` of ``parts``.

    Where a line through them over 1 / parts meets zero: Chong and Forsyth 2020 (arXiv 1911.07023, section 4). The
    images must be in no order, as generated ones are.
    """
    inverse = 1 / torch.tensor(parts, dtype=torch.float64)
    line = torch.stack([torch.ones_like(inverse), inverse], dim=1)
    intercepts: Tensor = torch.linalg.lstsq(line, distances.T).solution[0]
    return intercepts


def frechet_distances(features: Tensor, reference: Tensor, parts: list[int], counts: Tensor | None = None) -> Tensor:
    """Fréchet distance of the first rows of ``features``, as many as each of ``parts`` says: ``[R, S]``."""
    features, reference = features.double(), reference.double()
    counts = resamples(len(features), 0) if counts is None else counts
    mean, root = reference.mean(dim=0), symmetric_root(torch.cov(reference.T))
    distances = []
    for weights in counts:
        for part in parts:
            covariance = torch.cov(features[:part].T, fweights=weights[:part].long())
            shift = (average(features[:part], weights[None, :part])[0] - mean).square().sum()
            roots = torch.linalg.eigvalsh(root @ covariance @ root).clamp(min=0).sqrt()
            distances.append(shift + covariance.trace() + root.square().sum() - 2 * roots.sum())
    return torch.stack(distances).view(len(counts), len(parts))


def symmetric_root(matrix: Tensor) -> Tensor:
    """The square root of a symmetric positive semidefinite matrix ``[D, D]``."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root


def kernel_distance(features: Tensor, reference: Tensor, counts: Tensor | None = None) -> Tensor:
    """Unbiased squared maximum mean discrepancy under the kernel (x.y / D + 1)^3; 0 is best, noise may fall below.

    Gretton et al. 2012 (JMLR 13, lemma 6, the unbiased estimate) with the kernel of
    Binkowski et al. 2018 (arXiv 1801.01401, section 4). In a resample it moves by its first-order part, the mean
    over images of twice the difference of their mean kernels with both sets: pairs of one image drawn twice would
    bias the whole.
    """
    features, reference = features.double(), reference.double()
    cross = kernel_means(features, reference)
    own, theirs = _means_without_itself(features), _means_without_itself(reference)
    distance = own.mean() + theirs.mean() - 2 * cross.mean()
    influence = 2 * (own - cross)
    return distance + average(influence, counts) - influence.mean()


def kernel_means(left: Tensor, right: Tensor) -> Tensor:
    """Mean of the cubic kernel of every row of ``left`` ``[N, D]`` with all rows of ``right``: ``[N]``."""
    return torch.cat([((block @ right.T) / left.shape[1] + 1).pow(3).mean(dim=1) for block in left.split(ROWS)])


def _means_without_itself(features: Tensor) -> Tensor:
    """Mean of the cubic kernel of every row with all others: ``[N]``."""
    itself = (features.square().sum(dim=1) / features.shape[1] + 1).pow(3)
    return (kernel_means(features, features) * len(features) - itself) / (len(features) - 1)


def class_histogram(probabilities: Tensor, counts: Tensor | None = None) -> Tensor:
    """The part of the images whose most probable class is each of the K: ``[R, K]``, rows summing to one."""
    classes = torch.nn.functional.one_hot(probabilities.argmax(dim=1), probabilities.shape[1])
    return average(classes, counts)


def total_variation(histogram: Tensor, reference: Tensor) -> Tensor:
    """Half of the summed absolute differences of histograms ``[R, K]`` and ``[K]``: 0 is equal, 1 is disjoint."""
    return (histogram - reference).abs().sum(dim=1) / 2


def classes_present(histogram: Tensor, share: float = 0.01) -> Tensor:
    """How many of the K classes hold at least ``share`` of the images, of histograms ``[R, K]``."""
    return (histogram >= share).sum(dim=1).double()


def classifier_score(probabilities: Tensor, counts: Tensor | None = None) -> Tensor:
    """Exp of the mean KL divergence of p(y|x) from p(y): 1 is worst, K is best.

    The Inception Score of Salimans et al. 2016 (arXiv 1606.03498, section 4), with the judge in Inception's place.
    """
    probabilities = probabilities.double()
    marginal = average(probabilities, counts)
    negative_entropies = average(torch.xlogy(probabilities, probabilities).sum(dim=1), counts)
    return (negative_entropies - torch.xlogy(marginal, marginal).sum(dim=1)).exp()


def neighbour_distances(features: Tensor, k: int) -> Tensor:
    """Distances of every row to its ``k`` nearest other rows, the nearest first: ``[N, k]``. ``k`` is less than N."""
    features = features.double()
    found = [torch.cdist(block, features).topk(k + 1, largest=False).values[:, 1:] for block in features.split(ROWS)]
    return torch.cat(found)


@dataclass(frozen=True)
class Neighbourhoods:
    """Which images of N generated and M real ones lie in whose neighbourhood, image by image."""

    precise: Tensor
    """``[N]``: within the third-nearest distance of a real image. The mean is precision: Kynkaanniemi et al. 2019
    (arXiv 1904.06991, equations 1 and 2, k = 3)."""
    recalled: Tensor
    """``[M]``: within the third-nearest distance of a generated image. The mean is recall, there too."""
    density: Tensor
    """``[N]``: in how many real images' fifth-nearest distances, over five. The mean is density: Naeem et al. 2020
    (arXiv 2002.09797, equation 3, k = 5)."""
    covered: Tensor
    """``[M]``: a generated image is within its fifth-nearest distance. The mean is coverage (equation 4 there)."""
    known_generated: Tensor
    """``[N]``: the nearest image of all others is a generated one, too."""
    known_real: Tensor
    """``[M]``: the nearest image of all others is a real one, too. The mean of both is the accuracy of a
    nearest-neighbour classifier that every image is held out of: Lopez-Paz and Oquab 2017 (arXiv 1610.06545,
    section 3) and Xu et al. 2018 (arXiv 1806.07755, section 2.2). A half is not told apart."""


def neighbourhoods(features: Tensor, reference: Tensor, reference_distances: Tensor) -> Neighbourhoods:
    """The neighbourhoods of generated ``features`` ``[N, D]`` and real ``reference`` ``[M, D]``, of similar size.

    ``reference_distances``: ``neighbour_distances(reference, 5)``.
    """
    features, reference = features.double(), reference.double()
    own = neighbour_distances(features, 3)
    precise, density, nearest_real = [], [], []
    recalled = torch.zeros(len(reference), dtype=torch.bool)
    nearest_generated = torch.full((len(reference),), torch.inf, dtype=torch.float64)
    for block, radii in zip(features.split(ROWS), own[:, 2:].split(ROWS), strict=True):
        distances = torch.cdist(block, reference)
        precise.append((distances <= reference_distances[:, 2]).any(dim=1))
        density.append((distances <= reference_distances[:, 4]).sum(dim=1) / 5)
        nearest_real.append(distances.amin(dim=1))
        recalled |= (distances <= radii).any(dim=0)
        nearest_generated = nearest_generated.minimum(distances.amin(dim=0))
    return Neighbourhoods(
        precise=torch.cat(precise),
        recalled=recalled,
        density=torch.cat(density),
        covered=nearest_generated <= reference_distances[:, 4],
        known_generated=own[:, 0] < torch.cat(nearest_real),
        known_real=reference_distances[:, 0] < nearest_generated,
    )


def nearest(features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Distance ``[N]`` of every row to the nearest row of ``reference``, and that row's index ``[N]``."""
    features, reference = features.double(), reference.double()
    norms = reference.square().sum(dim=1)
    found = [torch.addmm(norms, block, reference.T, alpha=-2).min(dim=1) for block in features.split(ROWS)]
    squares = torch.cat([block.values for block in found]) + features.square().sum(dim=1)
    return squares.clamp(min=0).sqrt(), torch.cat([block.indices for block in found])


def copying(distances: Tensor, unseen: Tensor, counts: Tensor | None = None) -> Tensor:
    """The probability that a generated image lies nearer to its nearest training image than an unseen real one does.

    1/2 is as far as unseen images, 1 is copies; ties count half. The Mann-Whitney statistic of Meehan et al. 2020
    (arXiv 2004.05675, section 3) over all images. Sharp images of a few forms lie near to training images, too: it
    says where to look, not what is true.

    Args:
        distances: of the generated images to their nearest training images, ``[N]``.
        unseen: the same of real images that are not among the training images, ``[M]``.
    """
    ordered = unseen.sort().values
    below, up_to = (torch.searchsorted(ordered, distances, right=right) for right in (False, True))
    return average(1 - (below + up_to) / (2 * len(ordered)), counts)
