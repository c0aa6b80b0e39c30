"""Many runs of MLflow in one report: reports/compare.html, one file, and reports/compare.md with its pictures."""

import argparse
import base64
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "svg")

import jinja2
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mnist_gan import runs as published_runs
from mnist_gan import tracking, verdict
from mnist_gan.errors import UserError, run_stage
from mnist_gan.files import write_atomically
from mnist_gan.runs import PRIMARY, VALIDATION, Run, artifact, content_hash, differing, estimate, history
from mnist_gan.tracking import Store

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by colour-blind readers as well (Wong 2011, doi 10.1038/nmeth.1618)."""
PICTURES = {
    "samples.png": "Samples",
    "digits.png": "By digit, from the surest to the least sure",
    "progression.gif": "Training, on fixed latent vectors",
    "interpolation.gif": "From latent vector to latent vector",
    "nearest.png": "Samples above their nearest training images, by the judge and by the autoencoder",
}
SPACES = {"judge": "On the digit classifier's features", "autoencoder": "On the autoencoder's features"}
BINS = 200
"""Points of a loss curve; each is the mean of as many steps."""
PAUSE = 20
"""A step of so many medians was interrupted. A process that was stopped spreads its pause over one epoch's steps."""


def main() -> None:
    """Compare the runs that the command line names."""
    options = parser().parse_args()
    store = tracking.connect()
    with published_runs.failing_in_one_line():
        if options.runs:
            chosen = published_runs.named(store, options.runs)
        else:
            chosen = published_runs.published(store, options.filter)
        write(store, chosen, options.output)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan.compare", description=__doc__)
    chosen = made.add_mutually_exclusive_group()
    chosen.add_argument("--runs", nargs="+", metavar="RUN", help="starts of run ids or generator hashes, or run names")
    chosen.add_argument(
        "--filter", default="", help="an MLflow filter, as: params.`train.lr` = '0.0002'; else all runs"
    )
    made.add_argument("--output", type=Path, default=Path("reports"), help="folder of the report")
    return made


@dataclass
class Configuration:
    """Runs that differ in nothing but the seed."""

    label: str
    runs: list[Run]
    colour: str
    pictures: dict[str, bytes] = field(default_factory=dict)
    """By file name, of the run in the middle."""

    @property
    def middle(self) -> Run:
        """The run with the median distance, the better of two."""
        return sorted(self.runs, key=lambda run: run.data.metrics[PRIMARY])[(len(self.runs) - 1) // 2]

    def values(self, metric: str) -> list[float]:
        """The metric of each run."""
        return [run.data.metrics[metric] for run in self.runs]


def write(store: Store, runs: Sequence[Run], folder: Path) -> None:
    """Write compare.html, compare.md and the latter's pictures in compare/.

    Raises:
        UserError: there is no run, or an artifact of one is gone.
    """
    if not runs:
        raise UserError("no published run to compare: `dvc repro` makes one")
    groups = [
        Configuration(label, members, COLOURS[index % len(COLOURS)])
        for index, (label, members) in enumerate(published_runs.configurations(runs).items())
    ]
    measured_alike = published_runs.one_ruler(runs)
    for group in groups:
        group.pictures = {name: artifact(store, group.middle, f"plots/{name}") for name in PICTURES}
    figures = charts(store, groups)
    files = {f"{slug(title)}.svg": figure for title, figure in figures.items()} | {
        f"{group.middle.info.run_id[:8]}-{name}": picture
        for group in groups
        for name, picture in group.pictures.items()
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mnist_gan"), autoescape=jinja2.select_autoescape(["html.jinja"]), trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    content = {
        "verdict": decide(groups),
        "contrasts": verdict.contrasts(distances(groups)) if measured_alike else [],
        "groups": groups,
        "panel": panel(groups) if measured_alike else [],
        "charts": list(figures),
        "pictures": PICTURES,
        "parameters": {
            name: [", ".join(sorted({run.data.params.get(name, "") for run in group.runs})) for group in groups]
            for name in differing(runs)
        },
        "runs": [describe(store, group, run) for group in groups for run in group.runs],
        "samples": int(runs[0].data.metrics["samples"]),
    }
    for name, data in files.items():
        write_atomically(folder / "compare" / name, data)
    for name in ("compare.md", "compare.html"):
        text = environment.get_template(f"{name}.jinja").render(
            content, source=embedded(files) if name.endswith("html") else {file: f"compare/{file}" for file in files},
            slug=slug,
        )  # fmt: skip
        write_atomically(folder / name, text.encode())
    for name in PICTURES:
        for path in (folder / "compare").glob(f"????????-{name}"):
            if path.name not in files:
                path.unlink()
    print(f"{content['verdict']}\n{folder / 'compare.html'}")


def distances(groups: Sequence[Configuration]) -> dict[str, list[float]]:
    """The primary distance by configuration, one a seed."""
    return {group.label: group.values(PRIMARY) for group in groups}


def decide(groups: Sequence[Configuration]) -> str:
    """The verdict, or why there is none."""
    if not published_runs.one_ruler([run for group in groups for run in group.runs]):
        return (
            "There is no verdict: the runs were measured differently, so that their distances do not compare. With the "
            "same evaluate.samples, frozen networks and prepare.img_size they would."
        )
    return verdict.sentence(distances(groups))


def panel(groups: Sequence[Configuration]) -> list[dict[str, Any]]:
    """Per space, a row for each measure: its floor and, by configuration, mean and interval over seeds."""
    first = groups[0].runs[0].data.metrics
    tables = []
    for space, title in SPACES.items():
        names = sorted(
            (name for name in first if name.startswith(f"{space}/")), key=lambda name: (name != PRIMARY, name)
        )
        rows = [
            (
                name.partition("/")[2].replace("_", " "),
                f"{first[f'floor/{name}']:.3g}",
                [over_seeds(group.values(name)) for group in groups],
            )
            for name in names
        ]
        tables.append({"title": title, "rows": rows})
    return tables


def over_seeds(values: Sequence[float]) -> str:
    """The mean with half the width of its 95% t-interval over seeds, in two digits of the latter; one value alone."""
    mean = np.mean(values)
    if len(set(values)) == 1:
        return f"{mean:.3g}" if len(values) == 1 else f"{mean:.3g} ± 0"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}"


def describe(store: Store, group: Configuration, run: Run) -> dict[str, str]:
    """A run's row: its distances with bootstrap intervals, its best checkpoint, its link and names."""
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    base = server if server.startswith("http") else "http://127.0.0.1:5000"
    metrics, tags = run.data.metrics, run.data.tags

    def distance(space: str) -> str:
        value, low, high = estimate(run, f"{space}/frechet_distance")
        return f"{value:.4g} ({low:.4g} to {high:.4g})"

    return {
        "configuration": group.label,
        "colour": group.colour,
        "seed": run.data.params["train.seed"],
        "name": str(run.info.run_name),
        "link": f"{base}/#/experiments/{store.experiment_id}/runs/{run.info.run_id}",
        "judge": distance("judge"),
        "autoencoder": distance("autoencoder"),
        "best": f"{metrics['best/judge/frechet_distance']:.4g} (epoch {metrics['best/epoch']:.0f})",
        "hash": content_hash(run),
        "commit": tags.get("mlflow.source.git.commit", "")[:12]
        + (" and changes" if tags.get("mlflow.source.git.dirty") == "True" else ""),
        "made": f"{tags['device']}, {tags['precision']}, torch {tags['torch']}",
    }


def charts(store: Store, groups: Sequence[Configuration]) -> dict[str, bytes]:
    """SVG figures by title, a line for each run; runs without times of their own are not in those over seconds."""
    by_title: dict[str, Any] = {
        "Generator loss": ("train/loss_g", "epoch", "nats", "linear"),
        "Discriminator loss": ("train/loss_d", "epoch", "nats", "linear"),
        "Fréchet distance by epoch": (VALIDATION, "epoch", "to the validation images", "log"),
        "Fréchet distance by training second": (
            VALIDATION, "training second", "to the validation images", "log",
        ),
        "Precision by epoch": ("validation/precision", "epoch", "share of samples", "linear"),
        "Recall by epoch": ("validation/recall", "epoch", "share of real images", "linear"),
    }  # fmt: skip
    axes = {title: plt.subplots(figsize=(4.6, 3), layout="constrained") for title in by_title}
    for group in groups:
        for index, run in enumerate(group.runs):
            epochs = history(store, run, "epoch")
            seconds = training_seconds(epochs)
            for title, (metric, axis, _, _) in by_title.items():
                if axis != "epoch" and run.data.tags.keys() & {"recreated", "init_from"}:
                    continue
                followed = history(store, run, metric)
                at = epochs[1] if axis == "epoch" else seconds
                x, y = np.interp(followed[0], epochs[0], at), followed[1]
                if len(x) > BINS:
                    x, y = (np.array([part.mean() for part in np.array_split(values, BINS)]) for values in (x, y))
                axes[title][1].plot(
                    x,
                    y,
                    color=group.colour,
                    linewidth=1,
                    marker="." if len(x) < 30 else "",
                    label=group.label if index == 0 else None,
                )
    drawn = {}
    for title, (figure, axis) in axes.items():
        _, x_label, y_label, scale = by_title[title]
        axis.set(xlabel=x_label, ylabel=y_label, yscale=scale, title=title)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(frameon=False)
        buffer = io.BytesIO()
        with plt.rc_context({"svg.hashsalt": title}):
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        plt.close(figure)
        drawn[title] = buffer.getvalue()
    return drawn


def training_seconds(epochs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds of training up to each step, interrupted steps taken as median ones, from the history of ``epoch``."""
    took = np.diff(epochs[2], prepend=epochs[2][:1])
    median = np.median(took)
    return np.cumsum(np.where(took > PAUSE * median, median, took))


def embedded(files: dict[str, bytes]) -> dict[str, str]:
    """Data URIs by file name."""
    kinds = {".svg": "svg+xml", ".png": "png", ".gif": "gif"}
    return {
        name: f"data:image/{kinds[Path(name).suffix]};base64,{base64.b64encode(data).decode()}"
        for name, data in files.items()
    }


def slug(title: str) -> str:
    """A title as a file's name."""
    return title.lower().replace("é", "e").replace(" ", "-")


if __name__ == "__main__":
    run_stage(main)
