"""Data sets: each is a file of data/sets, under its name.

The file is a recipe in YAML, which is in git: where the files of a published set are. Or it holds the images
themselves, as ``python -m mnist_gan data FOLDER`` wrote it, and DVC tracks it.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from ruamel.yaml import YAML

from mnist_gan.config import FrozenConfig, Section, validate
from mnist_gan.errors import UserError, command

FOLDER = Path("data/sets")
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
"""The files of MNIST and of those that took its format: training images and labels, test images and labels."""
Noun = Literal["digit", "class", "kind"]
"""What a class is called; a kind is a group of images that look alike, where the images came without classes."""


class Package(Section):
    """A package of the Python package index that holds the files as well."""

    name: str
    sha256: str
    """Of its wheel."""


class Networks(Section):
    """The ruler's networks of a set that are in git, and how they were made."""

    folder: str
    judges: FrozenConfig
    autoencoder: FrozenConfig
    sha256: dict[str, str]
    """Of the files, by their names in ``folder``."""


class Recipe(Section):
    """Where a published set comes from, and what it is."""

    noun: Noun
    classes: Annotated[list[str], Field(min_length=2)]
    """Names, by label."""
    mirrors: list[str] = Field(default_factory=list)
    """Asked in this order; those of params.yaml where there are none."""
    sha256: dict[str, str] = Field(default_factory=dict)
    """Of the files, unpacked."""
    md5: dict[str, str] = Field(default_factory=dict)
    """Of the files as mirrors have them, packed by gzip, where SHA-256 is not known."""
    package: Package | None = None
    networks: Networks | None = None


def path(name: str) -> Path:
    """The file of the data set ``name``, which DVC may not have fetched yet.

    Raises:
        UserError: there is no such set.
    """
    if name in names():
        return FOLDER / name
    if not names():
        raise UserError(f"data.name: there are no data sets: {command('git', 'checkout', FOLDER)} restores them")
    raise UserError(f"data.name: there is no data set {name!r}; there are {', '.join(names())}")


def names() -> list[str]:
    """All data sets of this checkout."""
    return sorted({found.name.removesuffix(".dvc") for found in FOLDER.glob("[!.]*")})


def tracked(path: Path) -> Path:
    """What DVC knows of a file of images, which is in git; a recipe has none."""
    return path.with_name(f"{path.name}.dvc")


def recipe(path: Path) -> Recipe | None:
    """The recipe in a set's file; None where that holds the images themselves.

    Raises:
        UserError: the recipe is not one.
    """
    if tracked(path).exists():
        return None
    try:
        content = YAML(typ="safe").load(path.read_text())
    except Exception as error:  # ruamel.yaml fails in many ways beside its YAMLError
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    return validate(Recipe, content, path=path)
