"""data/prepared: what is trained on and measured against, as tensors of one size."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mnist_gan.errors import UserError
from mnist_gan.files import read_tensors, sha256, write_tensors

PREPARED = Path("data/prepared")


class Classes(NamedTuple):
    """The classes of a data set."""

    noun: str
    """What one is called: ``digit``, ``class`` or ``kind``."""
    names: tuple[str, ...]
    """By label."""


DIGITS = Classes("digit", tuple("0123456789"))
"""MNIST's."""


@dataclass(frozen=True)
class Split:
    """Images uint8 ``[N, C, H, W]`` and labels ``[N]``."""

    images: Tensor
    labels: Tensor
    classes: Classes = DIGITS
    """What the labels mean."""


def write_prepared(name: str, split: Split) -> None:
    """Write the prepared ``train`` or ``test`` split."""
    tensors = {"images": split.images, "labels": split.labels}
    write_tensors(PREPARED / f"{name}.safetensors", tensors, split.classes._asdict())


def read_prepared(name: str) -> Split:
    """The prepared ``train`` or ``test`` split.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = PREPARED / f"{name}.safetensors"
    try:
        tensors, about = read_tensors(path)
        return Split(**tensors, classes=Classes(about["noun"], tuple(about["names"])))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): run `dvc repro -f prepare`") from None


def count(name: str) -> int | None:
    """How many images the prepared split has, by the head of its file; None where that cannot be read."""
    try:
        with (PREPARED / f"{name}.safetensors").open("rb") as file:
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return int(head["images"]["shape"][0])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def digest(split: Split) -> str:
    """SHA-256 of images and labels: the name of a data set in MLflow and in a generator's metadata."""
    return sha256(split.images.numpy().tobytes() + split.labels.numpy().tobytes())
