"""Files that are either whole or not there.

What reads or writes tensors imports torch itself: that takes seconds, which a program without tensors need not wait.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_gan.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def root() -> Path:
    """The checkout; DVC_ROOT names it also where DVC runs an experiment in a temporary folder."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``; after a failure or a crash ``path`` is as it was before.

    Raises:
        UserError: the file cannot be written, for example because the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Always the same name: what a kill leaves here, the next write of the file takes away.
        temporary = path.with_name(f".{path.name}.part")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            # An interruption may come after the replacement, too.
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; the file is as it was before") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented JSON."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[float]]) -> None:
    """Write ``rows`` under ``header``; integers whole, floats with six significant digits."""

    def text(value: float) -> str:
        return str(value) if isinstance(value, int) else f"{value:.6g}"

    lines = [",".join(header), *(",".join(map(text, row)) for row in rows)]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", about: Mapping[str, Any] | None = None) -> None:
    """Write ``tensors`` and JSON ``about`` them, with a checksum of both; equal content gives equal bytes."""
    from safetensors.torch import save

    contents = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    described = json.dumps({"sha256": _checksum(contents, about or {}), "about": about or {}}, sort_keys=True)
    # One entry of metadata: safetensors writes several in a random order.
    write_atomically(path, save(contents, {"mnist_gan": described}))


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """What ``write_tensors`` wrote: the tensors, and what is to be known about them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not as it was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    # Read once: safe_open opens the path twice, and another process may replace the file in between.
    content = path.read_bytes()
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        described = json.loads(header["__metadata__"]["mnist_gan"])
        if described["sha256"] != _checksum(tensors, described["about"]):
            raise ValueError("its checksum is another")
        return tensors, described["about"]
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _checksum(tensors: "Mapping[str, Tensor]", about: Mapping[str, Any]) -> str:
    """SHA-256 of names, kinds, shapes and bytes, and of ``about``."""
    from torch import uint8

    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(uint8).numpy().tobytes())
    return digest.hexdigest()


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with their keys joined by slashes."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= flatten(value, f"{prefix}{key}/") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def sha256(content: bytes) -> str:
    """SHA-256 as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()
