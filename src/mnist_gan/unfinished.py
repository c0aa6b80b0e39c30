"""Trainings that are not finished: their state, kept outside DVC's outs so that the next start goes on from it.

Each lives in a folder of its own, named by the hash of all that determines its result:

state.safetensors   the engine's state, the loss record and the samples so far; the MLflow run's id as metadata
generator/          the result so far, as ``result`` lays it out
lock                held by the process that trains
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mnist_gan.errors import UserError
from mnist_gan.files import sha256, write_atomically
from mnist_gan.result import Origin

INTERVAL_S = 30
"""Seconds between two writes of the state: what an interruption costs at most."""


class Unfinished:
    """The folder of one training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generator = folder / "generator"
        self.state = folder / "state.safetensors"

    def save(self, state: Mapping[str, Tensor], run_id: str) -> None:
        """Replace the state on disk; an interruption leaves the one or the other."""
        write_atomically(self.state, safetensors.torch.save(dict(state), {"run_id": run_id}))

    def read(self) -> dict[str, Tensor] | None:
        """The state that was saved last, if any was.

        Raises:
            UserError: the file is damaged.
        """
        with self._open() as file:
            return {name: file.get_tensor(name) for name in file.keys()} if file else None  # noqa: SIM118, no mapping

    def run_id(self) -> str | None:
        """The MLflow run of the training, if a state was saved; raises as ``read`` does."""
        with self._open() as file:
            return str(file.metadata()["run_id"]) if file else None

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with safe_open(self.state, "pt") as file:
                yield file
        except FileNotFoundError:
            yield None
        except (OSError, SafetensorError) as error:
            raise UserError(f"{self.state} is damaged ({error}): remove {self.folder} to train anew") from None

    def remove(self) -> None:
        """Forget the training: its result is complete."""
        shutil.rmtree(self.folder)


@contextmanager
def claim(origin: Origin) -> Iterator[Unfinished]:
    """The folder of the training that ``origin`` describes, for this process alone.

    It lies under DVC_ROOT, so that an experiment in a temporary folder goes on as well.

    Raises:
        UserError: another process is at the same training.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".unfinished" / _name(origin)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is at this very training (it holds {lock.name}); let it end") from None
        yield Unfinished(folder)


def _name(origin: Origin) -> str:
    """16 hex digits of the hash of parameters, data, environment and code."""
    code = "".join(sha256(path.read_bytes()) for path in sorted(Path(__file__).parent.rglob("*.py")))
    determinants = [dict(origin.train), origin.image_shape, origin.data_sha256, dict(origin.environment), code]
    return sha256(json.dumps(determinants, sort_keys=True).encode())[:16]
