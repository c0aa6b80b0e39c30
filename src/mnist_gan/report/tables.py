"""Numbers of many runs as rows of text: the panel over seeds, and each run on its own."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mnist_gan.quality.guards import classes
from mnist_gan.quality.panel import Estimate, over_seeds
from mnist_gan.report import summary
from mnist_gan.report.configurations import Configuration
from mnist_gan.report.progress import duration
from mnist_gan.tracking.run import PRIMARY, TrackedRun
from mnist_gan.tracking.store import tracking_page

GROUPS = {
    "judge": "On the features of five classifiers",
    "autoencoder": "On the autoencoder's features",
    "told_apart": "Told from real images by a fresh judge",
}


class Outline(NamedTuple):
    """A configuration in a few words, with 95% intervals over its seeds."""

    group: Configuration
    paper: str
    judge: str
    autoencoder: str
    classes: str
    seconds: str
    """Of training, in words, the mean over seeds."""
    parameters: str
    """Of the generator."""


def outlines(groups: Sequence[Configuration]) -> list[Outline]:
    """All configurations, the nearest to the real images by the judges first."""
    return sorted(
        map(_outline, groups), key=lambda outline: math.fsum(outline.group.values(PRIMARY)) / len(outline.group.runs)
    )


def _outline(group: Configuration) -> Outline:
    tags = group.middle.tags
    seconds = [float(run.tags["training.seconds"]) for run in group.runs if "training.seconds" in run.tags]
    parameters = tags.get("generator.parameters", "")
    return Outline(
        group,
        paper=tags.get("paper", ""),
        judge=_over_seeds(group, PRIMARY),
        autoencoder=_over_seeds(group, "autoencoder/frechet_distance"),
        classes=_over_seeds(group, "judge/classes_present"),
        seconds=duration(math.fsum(seconds) / len(seconds)) if seconds else "",
        parameters=f"{int(parameters):,}" if parameters else "",
    )


class Row(NamedTuple):
    """A measure, what real images have, and each configuration's mean; all with 95% intervals."""

    measure: str
    floor: str
    values: list[str]


def headlines(groups: Sequence[Configuration]) -> list[Row]:
    """The measures that matter most."""
    return [_measure(groups, name, title) for name, title in summary.headlines(groups[0].runs[0].quality).items()]


def panel(groups: Sequence[Configuration]) -> dict[str, list[Row]]:
    """Every measure, by the title of its group; an older ruler has fewer groups."""
    first = sorted(groups[0].runs[0].quality, key=lambda name: (name != PRIMARY, name))
    measures = {title: [name for name in first if name.startswith(f"{group}/")] for group, title in GROUPS.items()}
    return {
        title: [_measure(groups, name, name.partition("/")[2].replace("_", " ")) for name in names]
        for title, names in measures.items()
        if names
    }


def _measure(groups: Sequence[Configuration], name: str, title: str) -> Row:
    floor = str(Estimate.of(groups[0].runs[0].quality, name, "floor/"))
    return Row(title, floor, [_over_seeds(group, name) for group in groups])


def _over_seeds(group: Configuration, name: str) -> str:
    """The mean of a measure, with its interval."""
    estimates, count = [Estimate.of(run.quality, name) for run in group.runs], len(classes(group.runs[0].quality))
    return str(over_seeds(name.partition("/")[2], estimates, count))


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
