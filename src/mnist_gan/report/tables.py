"""Numbers of many runs as rows of text: the panel over seeds, and each run on its own."""

from collections.abc import Sequence
from typing import NamedTuple

from mnist_gan.quality.panel import HEADLINES, Estimate, over_seeds
from mnist_gan.report.configurations import Configuration
from mnist_gan.tracking.run import PRIMARY, TrackedRun
from mnist_gan.tracking.store import tracking_page

SPACES = {"judge": "On the features of five digit classifiers", "autoencoder": "On the autoencoder's features"}


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
    measure = name.partition("/")[2]
    return Row(
        title,
        str(Estimate.of(groups[0].runs[0].quality, name, "floor/")),
        [str(over_seeds(measure, [Estimate.of(run.quality, name) for run in group.runs])) for group in groups],
    )


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

    changes = " and changes" if tags.get("mlflow.source.git.dirty") == "True" else ""
    return RunRow(
        configuration=group.label,
        colour=group.colour,
        seed=run.params["train.seed"],
        name=run.name,
        link=tracking_page(run),
        judge=str(Estimate.of(quality, PRIMARY)),
        autoencoder=str(Estimate.of(quality, "autoencoder/frechet_distance")),
        best=f"{Estimate.of(quality, PRIMARY, 'best/')}, epoch {quality['best/epoch']:.0f}",
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
