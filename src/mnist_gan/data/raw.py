"""data/raw: a data set as ``download`` brought it, with what is to be known of it in set.json."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from mnist_gan.config import Section
from mnist_gan.data.prepared import Classes, Split
from mnist_gan.data.sets import IDX, Networks, Noun, Recipe
from mnist_gan.errors import UserError, command
from mnist_gan.files import read_tensors, sha256, write_atomically, write_json

RAW = Path("data/raw")
ABOUT = RAW / "set.json"
IMAGES = RAW / "images.safetensors"
"""All images of a folder that ``python -m mnist_gan data`` took."""


class About(Section):
    """What is to be known of a data set beside its images."""

    noun: Noun
    classes: list[str]
    sha256: dict[str, str]
    """Of the files in data/raw."""
    networks: Networks | None

    @property
    def named(self) -> Classes:
        """What labels mean."""
        return Classes(self.noun, tuple(self.classes))


def write_files(recipe: Recipe, files: Mapping[str, bytes]) -> None:
    """Write the four files of a published set."""
    for name, content in files.items():
        write_atomically(RAW / name, content)
    hashes = {name: sha256(content) for name, content in files.items()}
    _describe(About(noun=recipe.noun, classes=recipe.classes, sha256=hashes, networks=recipe.networks))


def write_images(path: Path) -> None:
    """Copy the images of a set that ``python -m mnist_gan data`` wrote to ``path``.

    Raises:
        UserError: the file is damaged, or cannot be copied.
    """
    try:
        _, about = read_tensors(path)
        RAW.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, IMAGES)
        _describe(About(noun=about["noun"], classes=about["classes"], sha256={}, networks=None))
    except (OSError, KeyError, ValueError) as error:
        restore = command("dvc", "checkout", "--force", path)
        raise UserError(f"{path} cannot be taken to {RAW} ({error}): {restore} restores it") from None


def _describe(about: About) -> None:
    write_json(ABOUT, about.model_dump())


def read_about() -> About:
    """What is to be known of the set in data/raw.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return About.model_validate(json.loads(ABOUT.read_text()))
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{ABOUT} cannot be read ({reason}): run `dvc repro -f download`") from None


def read_raw(split: str) -> Split:
    """The raw ``train`` or ``test`` split, in the size that the images have there.

    Raises:
        UserError: a file is missing or differs from what was downloaded.
    """
    about = read_about()
    if not about.sha256:
        return _own(split, about.named)
    from torchvision.datasets.mnist import read_image_file, read_label_file  # a second, for two stages alone

    paths = [RAW / name for name in (IDX[:2] if split == "train" else IDX[2:])]
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} not found: run `dvc repro download`")
        if sha256(path.read_bytes()) != about.sha256[path.name]:
            raise UserError(f"{path} is damaged (its SHA-256 is another): run `dvc repro -f download`")
    images, labels = map(str, paths)
    return Split(read_image_file(images).unsqueeze(1), read_label_file(labels).byte(), about.named)


def _own(split: str, classes: Classes) -> Split:
    try:
        tensors, _ = read_tensors(IMAGES)
        rows = tensors["test"] if split == "test" else ~tensors["test"]
        return Split(tensors["images"][rows], tensors["labels"][rows], classes)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{IMAGES} cannot be read ({error}): run `dvc repro -f download`") from None
