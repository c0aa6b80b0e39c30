"""Curves of many runs: losses and quality over the training, as SVG."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mnist_gan.report.configurations import Configuration
from mnist_gan.tracking.run import VALIDATION

BINS = 200
"""Points of a loss curve; each is the mean of as many steps."""
PAUSE = 20
"""A step of so many medians was interrupted. A process that was stopped spreads its pause over one epoch's steps."""


class Chart(NamedTuple):
    """What is drawn over what."""

    title: str
    metric: str
    x: str
    y: str
    scale: str


EPOCH, SECOND = "epoch", "training second"
CHARTS = (
    Chart("Generator loss", "train/loss_g", EPOCH, "nats", "linear"),
    Chart("Discriminator loss", "train/loss_d", EPOCH, "nats", "linear"),
    Chart("Fréchet distance by epoch", VALIDATION, EPOCH, "to the validation images", "log"),
    Chart("Fréchet distance by training second", VALIDATION, SECOND, "to the validation images", "log"),
    Chart("Precision by epoch", "validation/precision", EPOCH, "share of samples", "linear"),
    Chart("Recall by epoch", "validation/recall", EPOCH, "share of real images", "linear"),
)


def draw(groups: Sequence[Configuration]) -> dict[str, bytes]:
    """Every chart as SVG by its title, a line for each run.

    Runs without times of their own are not in those over seconds.
    """
    height = 2.8 + 0.2 * len(groups)  # inches: the axes, and a line of the legend for each configuration
    figures = {chart: Figure(figsize=(4.6, height), layout="constrained") for chart in CHARTS}
    axes = {chart: figure.subplots() for chart, figure in figures.items()}
    for group in groups:
        for index, run in enumerate(group.runs):
            epochs = run.history("epoch")
            seconds = training_seconds(epochs)
            for chart, axis in axes.items():
                if chart.x == SECOND and ("recreated" in run.tags or run.start):
                    continue
                steps, y, _ = run.history(chart.metric)
                x = np.interp(steps, epochs[0], seconds if chart.x == SECOND else epochs[1])
                if len(x) > BINS:
                    x, y = (np.array([part.mean() for part in np.array_split(values, BINS)]) for values in (x, y))
                label = group.label if index == 0 else None
                marker = "." if len(x) < 30 else ""
                axis.plot(x, y, color=group.colour, linewidth=1, marker=marker, label=label)
    return {chart.title: _svg(chart, figure) for chart, figure in figures.items()}


def _svg(chart: Chart, figure: Figure) -> bytes:
    (axis,) = figure.axes
    axis.set(xlabel=chart.x, ylabel=chart.y, yscale=chart.scale, title=chart.title)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    if axis.lines:
        figure.legend(loc="outside lower left", frameon=False, fontsize="small")  # inside, it would lie on curves
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": chart.title}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def training_seconds(epochs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds of training up to each step, interrupted steps taken as median ones, from the history of ``epoch``."""
    took = np.diff(epochs[2], prepend=epochs[2][:1])
    median = np.median(took)
    return np.cumsum(np.where(took > PAUSE * median, median, took))
