"""Numbers of many runs as rows of text: the panel over seeds, and each run on its own."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from mnist_gan.report.configurations import Configuration
from mnist_gan.tracking.run import PRIMARY, TrackedRun
from mnist_gan.tracking.store import tracking_page

SPACES = {"judge": "On the digit classifier's features", "autoencoder": "On the autoencoder's features"}


class Row(NamedTuple):
    """A measure, what real images have, and each configuration's mean and interval over seeds."""

    measure: str
    floor: str
    values: list[str]


def panel(groups: Sequence[Configuration]) -> dict[str, list[Row]]:
    """Every measure, by the title of its space."""
    first = groups[0].runs[0].quality
    return {
        title: [
            Row(
                name.partition("/")[2].replace("_", " "),
                f"{first[f'floor/{name}']:.3g}",
                [over_seeds(group.values(name)) for group in groups],
            )
            for name in sorted(first, key=lambda name: (name != PRIMARY, name))
            if name.startswith(f"{space}/")
        ]
        for space, title in SPACES.items()
    }


def over_seeds(values: Sequence[float]) -> str:
    """The mean with half the width of its 95% t-interval over seeds, in two digits of the latter; one value alone."""
    mean = np.mean(values)
    if len(set(values)) == 1:
        return f"{mean:.3g}" if len(values) == 1 else f"{mean:.3g} ± 0"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}"


class RunRow(NamedTuple):
    """A run: its distances with bootstrap intervals, its best checkpoint, its link and names."""

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
