"""Who is better: two results for a crown, and several configurations over their seeds.

Better means nearer to the real images in both kinds of space, by more than chance explains, with no guard broken. A
guard is what a distance may not see: copies of training images, a class that is never drawn, few ways of writing one.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from mnist_gan.quality.guards import SPACES, Quality, classes, copying, missing_classes, scattered, too_few
from mnist_gan.quality.panel import Estimate

CONFIDENCE = 0.95
SEEDS = 3
"""The fewest seeds that take part in a verdict: of two, the spread is a guess."""
POWER = 0.8
FEWER = 0.75
"""A class is drawn in fewer ways where coverage of it is below so many times the other's."""


def crown(new: Quality, old: Quality | None) -> tuple[bool, str]:
    """Whether ``new`` takes the place of ``old``, if there is one, and why: a sentence's second half."""
    if broken := too_few(new) or copying(new):
        return False, broken
    if old is None:
        return True, "there was none before"
    if broken := _draws_fewer(new, old) or scattered(new):
        return False, broken
    names = {f"{space}/frechet_distance": title for space, title in SPACES.items()}
    orders = {_order(new, old, name) for name in names}
    said = "; ".join(
        f"{Estimate.of(new, name)} against {Estimate.of(old, name)} by the {title}" for name, title in names.items()
    )
    if orders == {1}:
        why = "nearer to the real images, beyond the intervals"
    elif orders == {-1}:
        why = "it is worse"
    elif orders == {1, -1}:
        why = "the two disagree, so that neither is better"
    else:
        why = "the intervals overlap, so that the evidence is not enough"
    return orders == {1}, f"Fréchet distance {said}: {why}"


def _draws_fewer(new: Quality, old: Quality) -> str:
    """What ``old`` draws and ``new`` does not: a class, or kinds of images of all classes or of one; or nothing."""
    if lost := sorted(set(missing_classes(new)) - set(missing_classes(old))):
        return f"it does not draw the {lost[0]}, which the present one draws"
    whole = [(f"{space}/coverage", 1.0, "", space) for space in SPACES]
    each = [(f"{space}_coverage/{name}", FEWER, f" of the {name}", space) for name in classes(new) for space in SPACES]
    for name, part, of_class, space in whole + each:
        if new[f"interval/{name}/high"] < part * old[f"interval/{name}/low"]:
            return (
                f"it draws fewer kinds of images than there are: coverage{of_class} {Estimate.of(new, name)} "
                f"against {Estimate.of(old, name)} of the present one, by the {SPACES[space]}"
            )
    return ""


def _order(new: Quality, old: Quality, name: str) -> int:
    """1 where the new distance is smaller beyond both intervals, -1 where it is larger, 0 where they overlap."""
    ours, theirs = Estimate.of(new, name), Estimate.of(old, name)
    if ours.high < theirs.low:
        return 1
    return -1 if ours.low > theirs.high else 0


class Ratio(NamedTuple):
    """How many times larger one distance is than another, in the geometric mean over seeds."""

    value: float
    low: float
    high: float
    """Of the 95% interval of this pair alone."""
    p: float
    """Two-sided, of Welch's t-test on the logarithms."""


@dataclass(frozen=True)
class Contrast:
    """Two configurations, of which ``better`` is nearer by the judges."""

    better: str
    worse: str
    ratios: dict[str, Ratio]
    """Of the distance of ``worse`` to that of ``better``, by kind of space."""
    p: float
    """That the pair is not told apart in both spaces: the larger of the two (Berger 1982, Technometrics 24)."""
    adjusted_p: float
    """The same for all pairs together: Holm 1979 (Scandinavian Journal of Statistics 6)."""
    permutation_p: float
    """By the judges, of the permutation test on the same difference of means (Pitman 1937, Supplement to the Journal of
    the Royal Statistical Society 4), exact up to nine seeds against nine; no normality is assumed."""

    @property
    def decided(self) -> bool:
        """Whether ``better`` is better by more than chance explains, in both spaces."""
        return self.adjusted_p < 1 - CONFIDENCE and all(ratio.value > 1 for ratio in self.ratios.values())


@dataclass(frozen=True)
class Verdict:
    """What can be said of several configurations."""

    sentence: str
    contrasts: list[Contrast]
    """Of every pair, the best first."""


def decide(configurations: Mapping[str, Sequence[Quality]]) -> Verdict:
    """Which configuration is better than all others, over seeds, or why none is.

    Args:
        configurations: the results of each, one a seed.
    """
    if len(configurations) < 2:
        return Verdict("There is nothing to decide: all runs have one configuration.", [])
    if unmeasured := next(filter(None, (too_few(run) for runs in configurations.values() for run in runs)), ""):
        return Verdict(f"There is no verdict: {unmeasured}.", [])
    enough = {name: runs for name, runs in sorted(configurations.items()) if len(runs) >= SEEDS}
    few = [f"{name} has {len(runs)}" for name, runs in sorted(configurations.items()) if len(runs) < SEEDS]
    aside = f" Left out, as a verdict needs {SEEDS} seeds: {', '.join(few)}." if few else ""
    if len(enough) < 2:
        return Verdict(f"There is no verdict: it needs {SEEDS} seeds of two configurations; {', '.join(few)}.", [])
    if odd := next((name for name, runs in enough.items() if not _spreads(runs)), None):
        return Verdict(
            f"There is no verdict: the distances of {odd} are 0 or all the same, as those of independent trainings "
            f"never are.{aside}",
            [],
        )
    contrasts = contrasts_of({name: _distances(runs) for name, runs in enough.items()})
    return Verdict(_sentence(contrasts, enough) + aside, contrasts)


def _sentence(contrasts: Sequence[Contrast], runs: Mapping[str, Sequence[Quality]]) -> str:
    best = contrasts[0].better
    against = [contrast for contrast in contrasts if contrast.better == best]
    beaten = [contrast.worse for contrast in against if contrast.decided]
    nearest = min(against, key=lambda contrast: contrast.ratios["judge"].value)
    for contrast in against:
        if reason := broken_guard(runs[best], runs[contrast.worse]):
            return f"There is no winner: {best} is nearest to the real images by the judges, but {reason}"
    if len(beaten) == len(against):
        return f"{best} is better: {_words(nearest, runs)}"
    undecided = max((c for c in against if not c.decided), key=lambda contrast: contrast.adjusted_p)
    also = f" {best} is better than {' and '.join(beaten)}." if beaten else ""
    if undecided.ratios["autoencoder"].value < 1:
        return (
            f"There is no winner: the judges put {best} before {undecided.worse}, the autoencoder the other way round. "
            f"In numbers: {_words(undecided, runs)}{also}"
        )
    return f"The evidence is not enough for a winner: {_words(undecided, runs)}{also}"


def _words(contrast: Contrast, runs: Mapping[str, Sequence[Quality]]) -> str:
    judge, encoder = contrast.ratios["judge"], contrast.ratios["autoencoder"]
    seeds = f"{len(runs[contrast.better])} and {len(runs[contrast.worse])} seeds"
    return (
        f"the Fréchet distance of {contrast.worse} is {judge.value:.3g} times that of {contrast.better} by the judges "
        f"(95% interval {judge.low:.3g} to {judge.high:.3g}) and {encoder.value:.3g} times by the autoencoder "
        f"({encoder.low:.3g} to {encoder.high:.3g}); {seeds}, p = {contrast.adjusted_p:.2g}."
    )


def broken_guard(best: Sequence[Quality], other: Sequence[Quality]) -> str:
    """What a distance may not see and is worse in ``best`` than in ``other``: a sentence's second half, or nothing."""
    for guard in (copying, scattered):
        if broken := next(filter(None, map(guard, best)), ""):
            return f"{broken}."
    lost = {name for run in best for name in missing_classes(run)} - {n for run in other for n in missing_classes(run)}
    if lost:
        return f"one of its trainings does not draw the {min(lost)}, which all of the other's do."
    for space, title in SPACES.items():
        ours, theirs = ([run[f"{space}/coverage"] for run in runs] for runs in (best, other))
        if max(ours) < min(theirs):
            return (
                f"each of its trainings draws fewer kinds of images than there are: coverage at most "
                f"{max(ours):.3f} against at least {min(theirs):.3f} by the {title}."
            )
    return ""


def contrasts_of(distances: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Contrast]:
    """Every pair of configurations, those with the nearest first.

    The logarithm makes the spread of a distance independent of its size. Welch's t-test (1947, Biometrika 34) does not
    take the spreads as equal.

    Args:
        distances: positive, by configuration and kind of space, one a seed.
    """
    logs = {name: {space: np.log(values) for space, values in of.items()} for name, of in distances.items()}
    order = sorted(logs, key=lambda name: (logs[name]["judge"].mean(), name))
    made = []
    for better, worse in itertools.combinations(order, 2):
        ratios = {}
        for space in SPACES:
            a, b = logs[worse][space], logs[better][space]
            test = stats.ttest_ind(a, b, equal_var=False)
            within = test.confidence_interval(CONFIDENCE)
            value, low, high = np.exp([a.mean() - b.mean(), within.low, within.high]).tolist()
            ratios[space] = Ratio(value, low, high, float(test.pvalue))
        exact = stats.permutation_test(
            (logs[worse]["judge"], logs[better]["judge"]), lambda x, y, axis: np.mean(x, axis) - np.mean(y, axis),
            vectorized=True, n_resamples=99_999, rng=0,
        )  # fmt: skip
        made.append((better, worse, ratios, max(ratio.p for ratio in ratios.values()), float(exact.pvalue)))
    adjusted = holm([p for *_, p, _ in made])
    return [
        Contrast(better, worse, ratios, p, together, permutation_p)
        for (better, worse, ratios, p, permutation_p), together in zip(made, adjusted, strict=True)
    ]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: each says what all tests together would have to allow for it to be significant."""
    order = np.argsort(p)
    steps = [min(1.0, (len(p) - rank) * p[index]) for rank, index in enumerate(order)]
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted.tolist()


def smallest_ratio(log_spread: float, seeds: int) -> float:
    """The smallest ratio of distances that so many seeds a side show with 80% power at 5%, two-sided.

    Args:
        log_spread: standard deviation over seeds of a distance's logarithm.
        seeds: at least 2.
    """
    # By how much many pairs of sides, of one distribution of unit spread, would have to differ for Welch's test.
    sides = np.random.default_rng(0).standard_normal((2, 20_000, seeds))
    left, right = sides.var(axis=2, ddof=1) / seeds
    freedom = (left + right) ** 2 / ((left**2 + right**2) / (seeds - 1))
    needed = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(left + right) - np.subtract(*sides.mean(axis=2))
    return float(np.exp(log_spread * np.quantile(needed, POWER)))


def _distances(runs: Sequence[Quality]) -> dict[str, list[float]]:
    return {space: [run[f"{space}/frechet_distance"] for run in runs] for space in SPACES}


def _spreads(runs: Sequence[Quality]) -> bool:
    """Whether distances are as independent trainings give them."""
    return all(min(values) > 0 and len(set(values)) > 1 for values in _distances(runs).values())
