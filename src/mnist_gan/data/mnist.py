"""MNIST on disk: the four raw IDX files by their hashes, and the prepared tensors."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mnist_gan.errors import UserError
from mnist_gan.files import read_tensors, sha256, write_tensors

RAW = Path("data/raw")
PREPARED = Path("data/prepared")

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""The four files of MNIST, uncompressed, and their SHA-256."""


@dataclass(frozen=True)
class Split:
    """Images uint8 ``[N, C, H, W]`` and labels uint8 ``[N]``."""

    images: Tensor
    labels: Tensor


def read_raw(split: str) -> Split:
    """The raw ``train`` or ``t10k`` split, images uint8 ``[N, 1, 28, 28]``.

    Raises:
        UserError: a file is missing or differs from MNIST's.
    """
    from torchvision.datasets.mnist import read_image_file, read_label_file  # a second, for this stage alone

    images, labels = RAW / f"{split}-images-idx3-ubyte", RAW / f"{split}-labels-idx1-ubyte"
    for path in (images, labels):
        if not path.exists():
            raise UserError(f"{path} not found: run `dvc repro download`")
        if sha256(path.read_bytes()) != SHA256[path.name]:
            raise UserError(f"{path} is damaged (its SHA-256 is not MNIST's): run `dvc repro -f download`")
    return Split(read_image_file(str(images)).unsqueeze(1), read_label_file(str(labels)).byte())


def write_prepared(name: str, split: Split) -> None:
    """Write the prepared ``train`` or ``test`` split."""
    write_tensors(PREPARED / f"{name}.safetensors", {"images": split.images, "labels": split.labels})


def read_prepared(name: str) -> Split:
    """The prepared ``train`` or ``test`` split.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = PREPARED / f"{name}.safetensors"
    try:
        return Split(**read_tensors(path)[0])
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): run `dvc repro -f prepare`") from None


def digest(split: Split) -> str:
    """SHA-256 of images and labels: the name of a data set in MLflow and in a generator's metadata."""
    return sha256(split.images.numpy().tobytes() + split.labels.numpy().tobytes())
