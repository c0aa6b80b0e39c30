"""One result in words: what a person should know of it who reads nothing else.

``publish`` prints it, and it is the run's description in MLflow.
"""

from mnist_gan.quality.fresh import SIZES
from mnist_gan.quality.guards import SPACES, Quality, copying, missing_digits
from mnist_gan.quality.panel import HEADLINES, Estimate

NEAR_NOTHING = 0.01
"""Precision of a generator that has learned nothing: so few of its images lie among real ones."""
NARROW = 0.45
"""Coverage below which a generator draws each digit in few ways only: a hundred different images have 0.4."""


def distances(quality: Quality, part: str = "") -> str:
    """The Fréchet distances of the generator, or of the ``part`` that "floor/" or "best/" names."""
    judges, autoencoder = (Estimate.of(quality, f"{space}/frechet_distance", part) for space in SPACES)
    return f"{judges} by the judges, {autoencoder} by the autoencoder"


def digits(quality: Quality) -> str:
    """How many of the ten digits it draws, and which not."""
    missing = missing_digits(quality)
    if not missing:
        return "all ten digits"
    *others, last = map(str, missing)
    listed = f"{', '.join(others)} or {last}" if others else last
    return f"{10 - len(missing)} of ten digits, not {listed}"


def verdict(quality: Quality) -> str:
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
    if copied := copying(quality):
        return f"{copied[0].upper()}{copied[1:]}."
    if max(quality["judge/coverage"], quality["autoencoder/coverage"]) < NARROW:
        return "It has collapsed: it draws every digit, but each in a few ways only."
    return ""


def told_apart(quality: Quality) -> str:
    """How often a fresh judge tells its images from real ones."""
    full, small = (f"told_apart/{size}_pixels" for size in (max(SIZES), min(SIZES)))
    return (
        f"in {quality[full]:.1%} of cases by a fresh judge, at {min(SIZES)} pixels in {quality[small]:.1%}; "
        f"real images in {quality[f'floor/{full}']:.1%}"
    )


def block(quality: Quality, title: str, epochs: int, run: str, page: str) -> str:
    """The end of ``dvc repro``: some six lines.

    Args:
        quality: the flat metrics of metrics/evaluate.json.
        title: names variant, seed and training time.
        epochs: of the whole training.
        run: names the run.
        page: where the run is shown.
    """
    best = quality["best/epoch"]
    lines = [
        title,
        verdict(quality),
        f"Fréchet distance   {distances(quality)}",
        f"real images have   {distances(quality, 'floor/')}",
        f"told from real     {told_apart(quality)}",
        f"draws              {digits(quality)}",
        f"validation chose   epoch {best:.0f}: {distances(quality, 'best/')}" if best != epochs else "",
        "look at            plots/digits.png",
        f"MLflow             {run}; `make ui`, then {page}",
    ]
    return "\n".join(["", *(f"  {line}" for line in lines if line), ""])


def note(quality: Quality, run_id: str) -> str:
    """The description of the run with this id, in Markdown, with pictures that the server of the UI has."""

    def picture(name: str) -> str:
        return f"![{name}](get-artifact?path=plots/{name}.png&run_uuid={run_id})"

    rows = [
        f"| {title} | {Estimate.of(quality, name)} | {Estimate.of(quality, name, 'floor/')} |"
        for name, title in HEADLINES.items()
    ]
    parts = [
        verdict(quality),
        f"Draws **{digits(quality)}**. Best checkpoint by validation: epoch {quality['best/epoch']:.0f}.",
        f"{picture('samples')} {picture('digits')}",
        "\n".join(["| value (95% interval) | this generator | real images |", "| --- | --- | --- |", *rows]),
        "All measures: `metrics/evaluate.json` in the artifacts.",
    ]
    return "\n\n".join(part for part in parts if part)
