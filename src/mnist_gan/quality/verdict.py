"""Which configuration is best, over seeds, or that the evidence is not enough."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
"""Of all intervals together."""


@dataclass(frozen=True)
class Contrast:
    """How many times larger the distance of ``worse`` is than that of ``better``, in the geometric mean over seeds."""

    better: str
    worse: str
    ratio: float
    low: float
    high: float
    p: float
    """Two-sided, of Welch's t-test on the logarithms, not corrected for the number of pairs."""
    permutation_p: float
    """Two-sided, of the permutation test on the same difference of means, exact up to nine seeds against nine; no
    normality is assumed."""


def contrasts(distances: Mapping[str, Sequence[float]]) -> list[Contrast]:
    """Every pair of configurations with at least two seeds each.

    The logarithm makes the spread of a distance independent of its size. Welch's t-test (1947, Biometrika 34) does not
    take the spreads as equal. The intervals hold together: each has the confidence 1 - 0.05 / pairs (Dunn 1961, Journal
    of the American Statistical Association 56, after Bonferroni). The permutation test is Pitman's (1937, Supplement to
    the Journal of the Royal Statistical Society 4).

    Args:
        distances: positive, by configuration, one a seed.
    """
    logs = {name: np.log(values) for name, values in distances.items() if len(values) > 1}
    pairs = list(itertools.combinations(sorted(logs, key=lambda name: logs[name].mean()), 2))
    found = []
    for better, worse in pairs:
        a, b = logs[worse], logs[better]
        test = stats.ttest_ind(a, b, equal_var=False)
        interval = test.confidence_interval(1 - (1 - CONFIDENCE) / len(pairs))
        exact = stats.permutation_test(
            (a, b), lambda x, y, axis: np.mean(x, axis) - np.mean(y, axis), vectorized=True, n_resamples=99_999, rng=0
        )
        ratio, low, high = np.exp([a.mean() - b.mean(), interval.low, interval.high]).tolist()
        found.append(Contrast(better, worse, ratio, low, high, float(test.pvalue), float(exact.pvalue)))
    return found


def sentence(distances: Mapping[str, Sequence[float]]) -> str:
    """The verdict on Fréchet distances by configuration, one a seed, with its test."""
    if len(distances) < 2:
        return "There is nothing to decide: all runs have one configuration."
    if single := [name for name, values in distances.items() if len(values) < 2]:
        return (
            f"The evidence is not enough for a verdict: {' and '.join(single)} was trained with one seed alone, "
            "and one training says nothing of how far the next one would be off."
        )
    every = contrasts(distances)
    against = [contrast for contrast in every if contrast.better == every[0].better]
    nearest = min(against, key=lambda contrast: contrast.low)
    seeds = f"{len(distances[nearest.better])} and {len(distances[nearest.worse])} seeds"
    test = f"Welch's t-test on log distances over {seeds}, p = {nearest.p:.2g}"
    if len(every) > 1:
        test += f", one of {len(every)} pairs"
    times = f"the Fréchet distance of {nearest.worse} is {nearest.ratio:.3g} times that of {nearest.better}"
    interval = f"95% interval {nearest.low:.3g} to {nearest.high:.3g}"
    if nearest.low > 1:
        return f"{nearest.better} is better: {times} ({interval}; {test})."
    return f"The evidence is not enough for a verdict: {times}, with 1 in the {interval} ({test})."
