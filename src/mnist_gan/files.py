"""Files that are either whole or not there."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mnist_gan.errors import UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``; after a failure or a crash ``path`` is as it was before.

    Raises:
        UserError: the file cannot be written, for example because the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            # An interruption may come after the replacement, too.
            Path(temporary).unlink(missing_ok=True)
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


def sha256(content: bytes) -> str:
    """SHA-256 as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()
