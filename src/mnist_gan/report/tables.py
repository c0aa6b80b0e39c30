"""Numbers of many runs as rows of text: the panel over seeds, and each run on its own."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from mnist_gan.quality.panel import Estimate
from mnist_gan.report.configurations import Configuration
from mnist_gan.tracking.run import PRIMARY, TrackedRun
from mnist_gan.tracking.store import tracking_page

SPACES = {"judge": "On the features of five digit classifiers", "autoencoder": "On the autoencoder's features"}
HEADLINES = {
    "judge/frechet_distance": "Fréchet distance, judges",
    "autoencoder/frechet_distance": "Fréchet distance, autoencoder",
    "judge/precision": "precision: images that look real",
    "judge/recall": "recall: real images that it could draw",
    "autoencoder/recall": "recall, autoencoder",
    "judge/coverage": "coverage: real images that it comes near",
    "autoencoder/coverage": "coverage, autoencoder",
    "autoencoder/copies": "copies: images too near to a training image",
    "judge/digits_present": "digits drawn",
    "judge/total_variation": "digits' shares: off by",
}
"""What a reader needs to know who won, and what each is bad at."""
UNBOUNDED = ("frechet_distance_infinite", "kernel_distance")
TOPS = {"frechet_distance": math.inf, "density": math.inf, "classifier_score": 10.0, "digits_present": 10.0}
"""The largest values of measures that are no parts of 1."""


class Row(NamedTuple):
    """A measure, what real images have, and each configuration's mean; all with 95% intervals."""

    measure: str
    floor: str
    values: list[str]


def headlines(groups: Sequence[Configuration]) -> list[Row]:
    """The measures that matter most."""
    return [_measure(groups, name, title) for name, title in HEADLINES.items()]


def panel(groups: Sequence[Configuration]) -> dict[str, list[Row]]:
    """Every measure, by the title of its space."""
    first = groups[0].runs[0].quality
    return {
        title: [
            _measure(groups, name, name.partition("/")[2].replace("_", " "))
            for name in sorted(first, key=lambda name: (name != PRIMARY, name))
            if name.startswith(f"{space}/")
        ]
        for space, title in SPACES.items()
    }


def _measure(groups: Sequence[Configuration], name: str, title: str) -> Row:
    first = groups[0].runs[0].quality
    ends = (first[f"floor/interval/{name}/{end}"] for end in ("low", "high"))
    return Row(
        title,
        in_words(Estimate(first[f"floor/{name}"], *ends)),
        [in_words(over_seeds(name, [run.estimate(name) for run in group.runs])) for group in groups],
    )


def over_seeds(name: str, estimates: Sequence[Estimate]) -> Estimate:
    """The mean with its 95% t-interval over seeds, as far as the measure ``name`` goes; of one seed, its own."""
    if len(estimates) == 1:
        return estimates[0]
    values = [estimate.value for estimate in estimates]
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(set(values)) > 1 else 0.0
    measure = name.partition("/")[2]
    least, most = (-math.inf, math.inf) if measure in UNBOUNDED else (0.0, TOPS.get(measure, 1.0))
    return Estimate(mean, max(least, mean - half), min(most, mean + half))


def in_words(estimate: Estimate) -> str:
    """A value and its interval, in as many digits as the interval's width leaves a meaning."""
    width = estimate.high - estimate.low
    if width <= 0:
        return f"{estimate.value:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(width)))
    value, low, high = (f"{number:.{decimals}f}" for number in estimate)
    return f"{value} ({low} to {high})"


class RunRow(NamedTuple):
    """A run: its distances with intervals, its best checkpoint, its link and names."""

    configuration: str
    colour: str
    seed: str
    name: str
    link: str
    judge: str
    autoencoder: str
    best: str
    content_hash: str
    commit: str
    made: str


def runs(groups: Sequence[Configuration]) -> list[RunRow]:
    """A row for each run."""
    return [_row(group, run) for group in groups for run in group.runs]


def _row(group: Configuration, run: TrackedRun) -> RunRow:
    quality, tags = run.quality, run.tags

    def distance(space: str) -> str:
        value, low, high = run.estimate(f"{space}/frechet_distance")
        return f"{value:.4g} ({low:.4g} to {high:.4g})"

    changes = " and changes" if tags.get("mlflow.source.git.dirty") == "True" else ""
    return RunRow(
        configuration=group.label,
        colour=group.colour,
        seed=run.params["train.seed"],
        name=run.name,
        link=tracking_page(run),
        judge=distance("judge"),
        autoencoder=distance("autoencoder"),
        best=f"{quality['best/judge/frechet_distance']:.4g} (epoch {quality['best/epoch']:.0f})",
        content_hash=run.content_hash,
        commit=tags.get("mlflow.source.git.commit", "")[:12] + changes,
        made=f"{tags['device']}, {tags['precision']}, torch {tags['torch']}",
    )


def parameters(groups: Sequence[Configuration], names: Sequence[str]) -> dict[str, list[str]]:
    """The values of parameters in each configuration."""
    return {
        name: [", ".join(sorted({run.params.get(name, "") for run in group.runs})) for group in groups]
        for name in names
    }
