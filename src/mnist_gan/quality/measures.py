"""Distances and scores of generated images, as pure functions on feature matrices.

Features are ``[N, D]``, one row an image; probabilities are ``[N, K]``, rows summing to one. Generated images are dealt
into ten parts, in their order, which must say nothing. A measure returns float64 values ``[1 + PARTS]``: of all the
images, and with each part left out. The spread of the latter is the measure's uncertainty (``panel.estimate``).

Tables of distances and kernels are float32, whatever is summed over them float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

VERSION = 3
"""Raised with every change that gives other numbers."""
PARTS = 10
NEIGHBOURS = 5 * PARTS
"""Of each real image, so many nearest real ones are looked up."""
ROWS = 100
"""Rows of a table that are in memory at a time: few, so that what is counted in them finds them in the cache."""
COLUMNS = 1000
"""And columns of which the least is sought before that of all."""


def left_out(sums: Tensor) -> Tensor:
    """From sums over each part ``[PARTS, ...]``: over all, and over all but each, ``[1 + PARTS, ...]``."""
    total = sums.sum(dim=0, keepdim=True)
    return torch.cat([total, total - sums])


def sizes(images: int) -> Tensor:
    """How many of ``images`` there are in all, and without each part: ``[1 + PARTS]``."""
    return left_out(torch.tensor([len(part) for part in torch.arange(images).tensor_split(PARTS)]))


def over_parts(values: Tensor) -> Tensor:
    """Means of one value a part, ``[..., PARTS]``: ``[..., 1 + PARTS]``."""
    means: Tensor = (left_out(values.double().movedim(-1, 0)).movedim(0, -1)) / sizes(PARTS)
    return means


def average(values: Tensor) -> Tensor:
    """Means of one value ``[N]`` or several ``[N, K]`` an image: ``[1 + PARTS]`` or ``[1 + PARTS, K]``."""
    sums = left_out(torch.stack([part.double().sum(dim=0) for part in values.tensor_split(PARTS)]))
    return sums / sizes(len(values)).view(-1, *[1] * (values.dim() - 1))


@dataclass(frozen=True)
class Gaussian:
    """Mean ``[D]`` of real features, and the square root ``[D, D]`` of their covariance."""

    mean: Tensor
    root: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Gaussian":
        """The one that fits ``features``."""
        values, vectors = torch.linalg.eigh(torch.cov(features.double().T))
        return cls(features.double().mean(dim=0), vectors * values.clamp(min=0).sqrt() @ vectors.T)


def frechet_distance(features: Tensor, real: Gaussian) -> Tensor:
    """Squared Fréchet distance between ``real`` and the Gaussian that fits ``features``; 0 is best.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2): Dowson and Landau 1982, equation 4, in the form of
    Heusel et al. 2017 (arXiv 1706.08500, equation 6). The inner product is symmetric, so its root's trace is a
    sum over the roots of eigenvalues.
    """
    parts = (features.double() - real.mean).tensor_split(PARTS)
    count = sizes(len(features)).double()
    shift = left_out(torch.stack([part.sum(dim=0) for part in parts])) / count[:, None]
    squares = left_out(torch.stack([part.T @ part for part in parts]))
    covariance = squares - count[:, None, None] * shift[:, :, None] * shift[:, None, :]
    covariance /= (count - 1)[:, None, None]
    roots: Tensor = torch.linalg.eigvalsh(real.root @ covariance @ real.root).clamp(min=0).sqrt().sum(dim=1)
    traces = covariance.diagonal(dim1=1, dim2=2).sum(dim=1) + real.root.square().sum()
    return shift.square().sum(dim=1) + traces - 2 * roots


def without_bias(values: Tensor) -> Tensor:
    """``values`` ``[1 + PARTS]`` of a measure, moved by what its bias of the order of 1 / N is.

    So a distance is what infinitely many images would have (Chong and Forsyth 2020, arXiv 1911.07023), by the jackknife
    of Quenouille 1956 (Biometrika 43).
    """
    bias = (PARTS - 1) * (values[1:].mean() - values[0])
    return values - bias


def kernel_distance(features: Tensor, reference: Tensor, reference_kernel: float) -> Tensor:
    """Unbiased squared maximum mean discrepancy under the kernel (x.y / D + 1)^3; 0 is best, noise may fall below.

    Gretton et al. 2012 (JMLR 13, lemma 6, the unbiased estimate) with the kernel of
    Binkowski et al. 2018 (arXiv 1801.01401, section 4). ``reference_kernel``: ``mean_kernel(reference)``.
    """
    parts, count = features.tensor_split(PARTS), sizes(len(features)).double()
    among = torch.zeros(PARTS, PARTS, dtype=torch.float64)
    for i, part in enumerate(parts):
        for j in range(i + 1):
            among[i, j] = among[j, i] = _kernel_sum(part, parts[j])
    itself = torch.stack([_self_kernels(part) for part in parts])
    without = among.sum() - 2 * among.sum(dim=1) + among.diagonal()
    own = (torch.cat([among.sum()[None], without]) - left_out(itself)) / (count * (count - 1))
    cross = left_out(torch.stack([_kernel_sum(part, reference) for part in parts])) / (count * len(reference))
    return own + reference_kernel - 2 * cross


def mean_kernel(features: Tensor) -> float:
    """Mean of the cubic kernel over all pairs of different rows."""
    count = len(features)
    return ((_kernel_sum(features, features) - _self_kernels(features)) / (count * (count - 1))).item()


def _kernel_sum(left: Tensor, right: Tensor) -> Tensor:
    rows = [(block @ right.T).div_(right.shape[1]).add_(1).pow_(3).sum(dim=1) for block in left.split(ROWS)]
    return torch.cat(rows).double().sum()


def _self_kernels(features: Tensor) -> Tensor:
    return (features.square().sum(dim=1).double() / features.shape[1] + 1).pow(3).sum()


def class_histogram(probabilities: Tensor) -> Tensor:
    """The part of the images whose most probable class is each of the K: ``[1 + PARTS, K]``, rows summing to one."""
    return average(torch.nn.functional.one_hot(probabilities.argmax(dim=1), probabilities.shape[1]))


def total_variation(histogram: Tensor, reference: Tensor) -> Tensor:
    """Half of the summed absolute differences of histograms ``[R, K]`` and ``[K]``: 0 is equal, 1 is disjoint."""
    return (histogram - reference).abs().sum(dim=1) / 2


def least_share(real: float, classes: int) -> float:
    """The part of the images that one of so many classes must have to be drawn; ``real`` is its part of real images.

    The tenth of an even share, or half of its own for a class that is rare itself.
    """
    return min(0.1 / classes, real / 2)


def classes_present(histogram: Tensor, reference: Tensor) -> Tensor:
    """How many of the K classes are drawn, of histograms ``[R, K]``, where real images have ``reference`` ``[K]``."""
    least = torch.tensor([least_share(real, len(reference)) for real in reference.tolist()])
    return (histogram >= least).sum(dim=1).double()


def classifier_score(probabilities: Tensor) -> Tensor:
    """Exp of the mean KL divergence of p(y|x) from p(y): 1 is worst, K is best.

    The Inception Score of Salimans et al. 2016 (arXiv 1606.03498, section 4), with the judges in Inception's place.
    """
    probabilities = probabilities.double()
    marginal = average(probabilities)
    negative_entropies = average(torch.xlogy(probabilities, probabilities).sum(dim=1))
    return (negative_entropies - torch.xlogy(marginal, marginal).sum(dim=1)).exp()


def squared_distances(left: Tensor, right: Tensor, norms: Tensor) -> Tensor:
    """Of every row of ``left`` ``[N, D]`` to every row of ``right`` ``[M, D]``, whose squared norms are ``norms``.

    Rounded by some 1e-7 of the norms, so that of equal rows may be a little more than 0.
    """
    table = torch.addmm(norms, left, right.T, alpha=-2)
    return table.add_(left.square().sum(dim=1, keepdim=True)).clamp_(min=0)


def neighbours(features: Tensor, k: int) -> Tensor:
    """Squared distances ``[N, k]`` of every row to its ``k`` nearest others, nearest first; infinite where none is."""
    norms, count = features.square().sum(dim=1), min(k, len(features))
    found = []
    for block, rows in zip(features.split(ROWS), torch.arange(len(features)).split(ROWS), strict=True):
        table = squared_distances(block, features, norms)
        table[torch.arange(len(rows)), rows] = torch.inf
        found.append(table.topk(count, largest=False).values)
    return pad(torch.cat(found), (0, k - count), value=torch.inf)


@dataclass(frozen=True)
class Neighbourhoods:
    """Which images of N generated and M real ones lie in whose neighbourhood."""

    precision: Tensor
    """``[1 + PARTS]``: part of the generated images that lie within the third-nearest distance of a real one:
    Kynkaanniemi et al. 2019 (arXiv 1904.06991, equations 1 and 2, k = 3)."""
    density: Tensor
    """``[1 + PARTS]``: in how many real images' fifth-nearest distances a generated one lies, over five: Naeem et al.
    2020 (arXiv 2002.09797, equation 3, k = 5)."""
    recalled: Tensor
    """``[PARTS, M]``: the real image lies within the third-nearest distance of one of a part's generated images, among
    each other. The mean is recall, there too, with a tenth of the images."""
    covered: Tensor
    """``[PARTS, M]``: one of a part's generated images is within the fiftieth-nearest distance of the real one, the
    fifth-nearest for ten times as many. The mean is coverage (equation 4 there)."""


def neighbourhoods(features: Tensor, reference: Tensor, reference_distances: Tensor) -> Neighbourhoods:
    """The neighbourhoods of generated ``features`` ``[N, D]`` and real ``reference`` ``[M, D]``, of similar size.

    What counts real images is counted for each part alone. Of all generated images at once it would be one number,
    whose error no resampling finds: a part that is left out is stood in for by its neighbours, and the jackknife sees
    1.3 to 1.8 times the error (r3gan, 24 draws of 10,000).

    ``reference_distances``: squared, of ``neighbours(reference, NEIGHBOURS)``.
    """
    norms = reference.square().sum(dim=1)
    third, fifth, fiftieth = (reference_distances[:, k - 1] for k in (3, 5, NEIGHBOURS))
    precise, density = [], []
    recalled, covered = (torch.zeros(PARTS, len(reference), dtype=torch.bool) for _ in range(2))
    for number, part in enumerate(features.tensor_split(PARTS)):
        radii = neighbours(part, 3)[:, 2:]
        for block, within in zip(part.split(ROWS), radii.split(ROWS), strict=True):
            table = squared_distances(block, reference, norms)
            # The least difference in place of any comparison: torch is several times faster at it.
            precise.append((table - third).amin(dim=1) <= 0)
            density.append((table <= fifth).view(torch.uint8).sum(dim=1, dtype=torch.int32) / 5)
            recalled[number] |= (table - within).amin(dim=0) <= 0
            covered[number] |= table.amin(dim=0) <= fiftieth
    return Neighbourhoods(average(torch.cat(precise)), average(torch.cat(density)), recalled, covered)


def nearest(features: Tensor, reference: Tensor, rank: int = 1) -> tuple[Tensor, Tensor]:
    """Distance and index ``[N]`` of the row of ``reference`` that is nearest to every row, or that of another ``rank``.

    Of equal rows, the distance may be up to 0.01 by rounding. A row that is in ``reference`` itself has its nearest
    other at rank 2.
    """
    norms = reference.square().sum(dim=1)
    distances, rows = [], []
    for block in features.split(ROWS):
        # Without the row's own norm, which moves no minimum: the table is passed over once.
        table = torch.addmm(norms, block, reference.T, alpha=-2)
        for _ in range(rank - 1):
            table.scatter_(1, _least(table)[1][:, None], torch.inf)
        found, at = _least(table)
        distances.append(found)
        rows.append(at)
    return (torch.cat(distances) + features.square().sum(dim=1)).clamp(min=0).sqrt(), torch.cat(rows)


def _least(table: Tensor) -> tuple[Tensor, Tensor]:
    """The least value of every row and its column. Sooner than by ``Tensor.min``, which keeps an index on its way."""
    leasts = torch.stack([part.amin(dim=1) for part in table.split(COLUMNS, dim=1)], dim=1)
    found, part = leasts.min(dim=1)
    columns = (part[:, None] * COLUMNS + torch.arange(COLUMNS)).clamp(max=table.shape[1] - 1)
    return found, columns.gather(1, table.gather(1, columns).argmin(dim=1, keepdim=True))[:, 0]


@dataclass(frozen=True)
class Nearest:
    """How near N images are to the nearest image that the generator was trained on, and to the nearest unseen one.

    Which of the two is nearer says whether the generator leans on what it was trained on. An image that was made of a
    training image by a change smaller than real images differ by is nearer to that one than to any other. It is the
    nearest-neighbour two-sample test (Schilling 1986, Journal of the American Statistical Association 81), which
    Meehan, Chaudhuri and Dasgupta 2020 (arXiv 2004.05675) turned to copies.
    """

    trained: Tensor
    """Distances ``[N]``."""
    unseen: Tensor
    """Distances ``[N]``."""
    real: Tensor
    """Names the nearest of all real images ``[N]``."""

    @classmethod
    def of(cls, features: Tensor, training: Tensor, unseen: Tensor, rank: int = 1) -> "Nearest":
        """Of ``features`` ``[N, D]`` to ``training`` ``[T, D]``, by ``rank`` there, and to ``unseen`` ``[M, D]``."""
        to_training, one = nearest(features, training, rank)
        to_unseen, other = nearest(features, unseen)
        return cls(to_training, to_unseen, one.where(to_training < to_unseen, len(training) + other))

    @property
    def ratio(self) -> Tensor:
        """Of the two distances ``[N]``: below 1 where a training image is nearer; 1 where both are 0."""
        return (self.trained / self.unseen).nan_to_num(nan=1.0, posinf=torch.inf)

    @property
    def independent(self) -> float:
        """How many independent images say as much of a part of these (Kish 1965, Survey Sampling, section 8.2).

        Images with the same nearest real image say one thing, once: had chance dealt that one to the other set, all
        of them would say the opposite. Of a generator that draws one image only, that is one.
        """
        alike = self.real.unique(return_counts=True)[1].double()
        return float(alike.sum().square() / alike.square().sum())
