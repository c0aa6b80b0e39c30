"""One result in words: what a person should know of it who reads nothing else.

``publish`` prints it, and it is the run's description in MLflow.
"""

from collections.abc import Mapping
from typing import NamedTuple

from mnist_gan.quality.verdict import NEAR, copies, missing_digits

NEAR_NOTHING = 0.01
"""Precision of a generator that has learned nothing: so few of its images lie among real ones."""
NARROW = 0.05
"""Recall below which a generator draws each digit in few ways only."""


class Distance(NamedTuple):
    """A Fréchet distance with its 95% interval, and that of real images."""

    value: float
    low: float
    high: float
    floor: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g}); real images have {self.floor:.2g}"


def distance(quality: Mapping[str, float], space: str = "judge") -> Distance:
    """From the flat metrics of metrics/evaluate.json."""
    name = f"{space}/frechet_distance"
    low, high = (quality[f"interval/{name}/{end}"] for end in ("low", "high"))
    return Distance(quality[name], low, high, quality[f"floor/{name}"])


def digits(quality: Mapping[str, float]) -> str:
    """How many of the ten digits it draws, and which not."""
    missing = missing_digits(quality)
    if not missing:
        return "all ten digits"
    *others, last = map(str, missing)
    listed = f"{', '.join(others)} or {last}" if others else last
    return f"{10 - len(missing)} of ten digits, not {listed}"


def verdict(quality: Mapping[str, float]) -> str:
    """What is wrong with the generator, in a sentence; empty where nothing is."""
    if max(quality["judge/precision"], quality["autoencoder/precision"]) < NEAR_NOTHING:
        return "It has learned nothing: hardly any of its images lies near a real one."
    missing = missing_digits(quality)
    if missing:
        return (
            f"It has collapsed: a few images, over and over, with {len(missing)} of ten digits missing."
            if len(missing) > 1
            else f"It has lost a digit: it does not draw the {missing[0]}."
        )
    if copied := copies(quality):
        return f"It copies: {copied:.1%} of its images {NEAR}."
    if max(quality["judge/recall"], quality["autoencoder/recall"]) < NARROW:
        return "It has collapsed: it draws every digit, but each in a few ways only."
    return ""


def block(quality: Mapping[str, float], title: str, epochs: int, run: str, page: str) -> str:
    """The end of ``dvc repro``: some six lines.

    Args:
        quality: the flat metrics of metrics/evaluate.json.
        title: names variant, seed and training time.
        epochs: of the whole training.
        run: names the run.
        page: where the run is shown.
    """
    best = quality["best/epoch"]
    better = quality["best/judge/frechet_distance"]
    lines = [
        title,
        verdict(quality),
        f"Fréchet distance   {distance(quality)}",
        f"draws              {digits(quality)}",
        f"best checkpoint    epoch {best:.0f}, distance {better:.3g}" if best != epochs else "",
        "look at            plots/digits.png",
        f"MLflow             {run}; `make ui`, then {page}",
    ]
    return "\n".join(["", *(f"  {line}" for line in lines if line), ""])


PANEL = {
    "frechet_distance": "Fréchet distance",
    "kernel_distance": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "coverage": "coverage",
    "copies": "copies",
}
"""The measures that a run's description shows, by their names in metrics/evaluate.json."""


def note(quality: Mapping[str, float], run_id: str) -> str:
    """The description of the run with this id, in Markdown, with pictures that the server of the UI has."""

    def cell(measure: str) -> str:
        if measure not in quality:
            return ""
        low, high = (quality[f"interval/{measure}/{end}"] for end in ("low", "high"))
        return f"{quality[measure]:.3g} ({low:.3g} to {high:.3g}); {quality[f'floor/{measure}']:.2g}"

    def picture(name: str) -> str:
        return f"![{name}](get-artifact?path=plots/{name}.png&run_uuid={run_id})"

    rows = [f"| {title} | {cell(f'judge/{name}')} | {cell(f'autoencoder/{name}')} |" for name, title in PANEL.items()]
    panel = ["| value (95% interval); real images | judge | autoencoder |", "| --- | --- | --- |", *rows]
    parts = [
        verdict(quality),
        f"Fréchet distance **{distance(quality)}**. Draws **{digits(quality)}**. "
        f"Best checkpoint by validation: epoch {quality['best/epoch']:.0f}.",
        f"{picture('samples')} {picture('digits')}",
        "\n".join(panel),
        "All measures: `metrics/evaluate.json` in the artifacts.",
    ]
    return "\n\n".join(part for part in parts if part)
