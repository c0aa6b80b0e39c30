"""One result in words: what a person should know of it who reads nothing else.

``publish`` prints it, and it is the run's description in MLflow.
"""

from mnist_gan.quality.fresh import SIZES
from mnist_gan.quality.guards import SPACES, Quality, classes, copying, missing_classes, noun, plural, too_few
from mnist_gan.quality.panel import HEADLINES, Estimate

NEAR_NOTHING = 0.01
"""Precision of a generator that has learned nothing: so few of its images lie among real ones."""
NARROW = 0.45
"""Coverage below which a generator draws each class in few ways only: a hundred different images have 0.4."""
LISTED = 10
"""Missing classes that are named."""
WEAK = 0.9
"""Accuracy below which judges know the classes too badly to be trusted with shares and missing classes."""


def distances(quality: Quality, part: str = "") -> str:
    """The Fréchet distances of the generator, or of the ``part`` that "floor/" or "best/" names."""
    judges, autoencoder = (Estimate.of(quality, f"{space}/frechet_distance", part) for space in SPACES)
    return f"{judges} by the judges, {autoencoder} by the autoencoder"


def drawn(quality: Quality) -> str:
    """How many of the classes it draws, and which not."""
    missing = missing_classes(quality)
    if not missing:
        return f"all {every(quality)}"
    *others, last = [*missing[:LISTED], *([f"{len(missing) - LISTED} more"] if len(missing) > LISTED else [])]
    listed = f"{', '.join(others)} or {last}" if others else last
    return f"{len(classes(quality)) - len(missing)} of {every(quality)}, not {listed}"


def every(quality: Quality) -> str:
    """``ten digits``, or ``26 classes``."""
    count = len(classes(quality))
    return f"{'ten' if count == 10 else count} {plural(noun(quality))}"


def verdict(quality: Quality) -> str:
    """What is wrong with the generator, in a sentence; empty where nothing is."""
    if few := too_few(quality):
        return f"{few[0].upper()}{few[1:]}."
    if max(quality["judge/precision"], quality["autoencoder/precision"]) < NEAR_NOTHING:
        return "It has learned nothing: hardly any of its images lies near a real one."
    missing, what = missing_classes(quality), noun(quality)
    if missing:
        return (
            f"It has collapsed: a few images, over and over, with {len(missing)} of {every(quality)} missing."
            if len(missing) > 1
            else f"It has lost a {what}: it does not draw the {missing[0]}."
        )
    if copied := copying(quality):
        return f"{copied[0].upper()}{copied[1:]}."
    if max(quality["judge/coverage"], quality["autoencoder/coverage"]) < NARROW:
        return f"It has collapsed: it draws every {what}, but each in a few ways only."
    return ""


def judges(quality: Quality) -> str:
    """What the judges are worth, where they know the classes badly; empty where they know them well."""
    accuracy = quality.get("data/judges_accuracy", 1.0)
    if accuracy >= WEAK:
        return ""
    return f"know the classes of {accuracy:.0%} of real images only: do not trust them with shares or missing classes"


def told_apart(quality: Quality) -> str:
    """How often a fresh judge tells its images from real ones."""
    full, small = (f"told_apart/{size}_pixels" for size in (max(SIZES), min(SIZES)))
    return (
        f"in {quality[full]:.1%} of cases by a fresh judge, at {min(SIZES)} pixels in {quality[small]:.1%}; "
        f"real images in {quality[f'floor/{full}']:.1%}"
    )


def measured(quality: Quality, epochs: int) -> list[str]:
    """What the ruler says of a training of so many ``epochs``; where real images are too few, what is left to see."""
    if too_few(quality):
        return ["compare            plots/nearest.png: its images above the training images nearest to them"]
    best = quality["best/epoch"]
    return [
        f"Fréchet distance   {distances(quality)}",
        f"real images have   {distances(quality, 'floor/')}",
        f"told from real     {told_apart(quality)}",
        f"draws              {drawn(quality)}",
        f"the judges         {weak}" if (weak := judges(quality)) else "",
        f"validation chose   epoch {best:.0f}: {distances(quality, 'best/')}" if best != epochs else "",
    ]


def block(quality: Quality, title: str, epochs: int, run: str, page: str) -> str:
    """The end of ``dvc repro``: some six lines.

    Args:
        quality: the flat metrics of metrics/evaluate.json.
        title: names variant, seed and training time.
        epochs: of the whole training.
        run: names the run.
        page: where the run is shown.
    """
    lines = [
        title,
        verdict(quality),
        *measured(quality, epochs),
        "look at            plots/classes.png; plots/play.html draws more, in a browser",
        f"MLflow             {run}; `make ui`, then {page}",
    ]
    return "\n".join(["", *(f"  {line}" for line in lines if line), ""])


def headlines(quality: Quality) -> dict[str, str]:
    """HEADLINES that the result has, those of an older ruler are fewer, with titles in its own words."""
    return {name: title.format(classes=plural(noun(quality))) for name, title in HEADLINES.items() if name in quality}


def note(quality: Quality, run_id: str) -> str:
    """The description of the run with this id, in Markdown, with pictures that the server of the UI has."""

    def picture(name: str) -> str:
        return f"![{name}](get-artifact?path=plots/{name}.png&run_uuid={run_id})"

    pictures = f"{picture('samples')} {picture('classes')}"
    rows = [
        f"| {title} | {Estimate.of(quality, name)} | {Estimate.of(quality, name, 'floor/')} |"
        for name, title in headlines(quality).items()
    ]
    if too_few(quality):
        parts = [verdict(quality), pictures, picture("nearest")]
    else:
        parts = [
            verdict(quality),
            f"The judges {weak}." if (weak := judges(quality)) else "",
            f"Draws **{drawn(quality)}**. Best checkpoint by validation: epoch {quality['best/epoch']:.0f}.",
            pictures,
            "\n".join(["| value (95% interval) | this generator | real images |", "| --- | --- | --- |", *rows]),
            "All measures: `metrics/evaluate.json` in the artifacts.",
        ]
    return "\n\n".join(part for part in parts if part)
