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
Noun = Literal["digit", "class"]
"""What a class is called."""


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
    """The file of the data set ``name``.

    Raises:
        UserError: there is no such set.
    """
    found = FOLDER / name
    if found.is_file():
        return found
    if found.with_name(f"{name}.dvc").exists():
        raise UserError(f"data.name: the images of {name} are not here: {command('dvc', 'pull', found)} fetches them")
    raise UserError(f"data.name: there is no data set {name!r}; there are {', '.join(names())}")


def names() -> list[str]:
    """All data sets of this checkout."""
    return sorted({found.name.removesuffix(".dvc") for found in FOLDER.iterdir() if found.name[0] != "."})


def recipe(found: Path) -> Recipe | None:
    """The recipe in a set's file; None where that holds the images themselves.

    Raises:
        UserError: the recipe is not one.
    """
    with found.open("rb") as file:
        if file.read(9)[8:] == b"{":  # safetensors: the length of its header, then the header, which is JSON
            return None
    try:
        content = YAML(typ="safe").load(found.read_text())
    except Exception as error:  # ruamel.yaml fails in many ways beside its YAMLError
        raise UserError(f"{found} is not valid YAML: {' '.join(str(error).split())}") from None
    return validate(Recipe, content, path=found)
