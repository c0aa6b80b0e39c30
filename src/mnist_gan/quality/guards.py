"""What a distance may not see of one result: copies of training images, and classes that are never drawn."""

from collections.abc import Mapping

from mnist_gan.quality.measures import least_share
from mnist_gan.quality.panel import Estimate

SPACES = {"judge": "judges", "autoencoder": "autoencoder"}
COPYING = {
    "copies": "it copies: {value:.1%} of its images are nearer to a training image than all but {floor:.0%} of real "
    "ones are",
    "nearest_in_training": "it leans on its training images: for {value:.1%} of its images the nearest real one is a "
    "training image, for real images {floor:.1%}",
}
"""The measures that say that images are made of training images, and how."""

FEWEST = 100
"""Test images below which nothing is said of a generator: fewer do not show what it does."""

Quality = Mapping[str, float]
"""All measures of one result: metrics/evaluate.json, flat."""


def too_few(quality: Quality) -> str:
    """That nothing can be said, as there are too few real images; nothing where there are enough."""
    count = quality.get("data/test_images", FEWEST)  # results of older versions are of MNIST
    if count >= FEWEST:
        return ""
    return f"there are too few images to measure: {count:.0f} test images, where {FEWEST} are the fewest"


def copying(quality: Quality) -> str:
    """What says that the images are made of training images, by more than chance explains; nothing where nothing does.

    The intervals of the generator and of real images must be apart, in one kind of space at least. A result of an older
    ruler has fewer measures.
    """
    for measure, words in COPYING.items():
        for name in (f"{space}/{measure}" for space in SPACES if f"{space}/{measure}" in quality):
            value, floor = Estimate.of(quality, name), Estimate.of(quality, name, "floor/")
            if value.low > floor.high:
                return words.format(value=value.value, floor=floor.value)
    return ""


def scattered(quality: Quality) -> str:
    """That the images differ from each other in more ways than real ones do; nothing where they do not.

    Recall above that of real images is no variety: its neighbourhoods are made of generated images, and grow with their
    jitter. By the autoencoder alone, as honest generators are far from it there, and near it by the judges.
    """
    name = "autoencoder/recall"
    value, floor = Estimate.of(quality, name), Estimate.of(quality, name, "floor/")
    if value.low <= floor.high:
        return ""
    return f"its images are scattered more widely than real ones: recall {value} by the autoencoder, not {floor}"


def noun(quality: Quality) -> str:
    """What a class of these images is called; results of older versions are of digits."""
    return str(quality.get("data/noun", "digit"))


def plural(noun: str) -> str:
    """Of ``digit`` or ``class``."""
    return f"{noun}{'es' if noun.endswith('s') else 's'}"


def classes(quality: Quality) -> list[str]:
    """The names of all classes."""
    return [name.removeprefix("classes/") for name in quality if name.startswith("classes/")]


def missing_classes(quality: Quality) -> list[str]:
    """The classes that the generator seldom or never draws."""
    names = classes(quality)
    return [
        name for name in names if quality[f"classes/{name}"] < least_share(quality[f"floor/classes/{name}"], len(names))
    ]
