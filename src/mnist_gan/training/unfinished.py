"""Trainings that are not finished: their state, kept outside DVC's outs so that the next start goes on from it.

Each lives in a folder of its own, named by the hash of all that determines its result:

inputs.json         what determines the result, so that a training that is not taken up can say why
state.safetensors   the engine's state, the record and the samples so far; as metadata the MLflow run's id, the step
                    and the seconds of training
generator/          the result so far, as ``generators`` lays it out
lock                held by the process that trains
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mnist_gan.errors import UserError
from mnist_gan.files import sha256, write_atomically, write_json

INTERVAL_S = 30
"""Seconds between two writes of the state: what an interruption costs at most."""
ENVIRONMENT = ("device", "threads", "precision", "torch")
"""The inputs that are neither a parameter nor a file."""


class Unfinished:
    """The folder of one training."""

    def __init__(self, folder: Path) -> None:
        """Look at ``folder``; raises UserError where its state is damaged."""
        self.folder = folder
        self.generator = folder / "generator"
        self.path = folder / "state.safetensors"
        with self._open() as file:
            metadata = file.metadata() if file else {"run_id": "", "step": "0", "seconds": "0"}
        self.run_id: str = metadata["run_id"]
        """The MLflow run of the training; empty where none was saved."""
        self.step = int(metadata["step"])
        """The step that was saved last."""
        self._before, self._began = float(metadata["seconds"]), time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the training has gone on, over all its starts."""
        return self._before + time.monotonic() - self._began

    def save(self, state: Mapping[str, Tensor], step: int) -> None:
        """Replace the state on disk; an interruption leaves the one or the other."""
        metadata = {"run_id": self.run_id, "step": str(step), "seconds": f"{self.seconds:.1f}"}
        write_atomically(self.path, safetensors.torch.save(dict(state), metadata))
        self.step = step

    def read(self) -> dict[str, Tensor] | None:
        """The state that was saved last, if any was."""
        with self._open() as file:
            return {name: file.get_tensor(name) for name in file.keys()} if file else None  # noqa: SIM118, no mapping

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with safe_open(self.path, "pt") as file:
                yield file
        except FileNotFoundError:
            yield None
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{self.path} is damaged ({error}): `rm -r {self.folder}` to train anew") from None

    def remove(self) -> None:
        """Forget the training: its result is complete."""
        shutil.rmtree(self.folder)


@contextmanager
def exclusive(inputs: Mapping[str, str]) -> Iterator[Unfinished]:
    """The folder of the training that ``inputs`` determine, for this process alone.

    Raises:
        UserError: another process is at the same training, or the folder is damaged.
    """
    folder = _root() / name(inputs)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"another process is at this very training (it holds {lock.lock_file}); let it end") from None
    try:
        write_json(folder / "inputs.json", inputs)
        yield Unfinished(folder)
    finally:
        lock.release()


def name(inputs: Mapping[str, str]) -> str:
    """16 hex digits of the hash of all that determines a result."""
    return sha256(json.dumps(inputs, sort_keys=True).encode())[:16]


def passed_over(inputs: Mapping[str, str]) -> list[str]:
    """For each unfinished training that ``inputs`` are not those of: why it is not taken up, and what can be done.

    Those that another process is at are left out.
    """
    messages = []
    for listed in sorted(_root().glob("*/inputs.json")):
        folder = listed.parent
        if folder.name == name(inputs) or not (folder / "state.safetensors").exists() or _is_locked(folder):
            continue
        theirs = json.loads(listed.read_text())
        differing = _differing(theirs, inputs)
        reasons = ", ".join(_difference(key, theirs.get(key), inputs.get(key)) for key in differing)
        try:
            step = Unfinished(folder).step
            messages.append(
                f"an unfinished {theirs['train.variant']} at step {step} is not taken up: {reasons}. "
                f"It stays: {_way_back(differing, theirs)} goes on with it, "
                f"`rm -r {_root().name}/{folder.name}` discards it"
            )
        except UserError as damaged:
            messages.append(str(damaged))
    return messages


def _differing(theirs: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """The inputs that are not the same; of two variants, that they are two says enough."""
    keys = sorted(key for key in theirs.keys() | here.keys() if theirs.get(key) != here.get(key))
    if "train.variant" in keys:
        keys = [key for key in keys if not re.search(r"variants[./][a-z]", key)]
    return keys


def _difference(key: str, theirs: str | None, here: str | None) -> str:
    if _is_content(key):
        return f"{key} differs"
    return f"{key} {theirs}, here {here}"


def _is_content(key: str) -> bool:
    """Whether an input is a file or the data, whose value is a hash."""
    return "/" in key or key == "data"


def _way_back(differing: list[str], theirs: Mapping[str, str]) -> str:
    """What to type to go on with a training whose inputs ``theirs`` are ``differing``."""
    files = [key for key in differing if _is_content(key)]
    params = [key for key in differing if key in theirs and key not in (*files, *ENVIRONMENT)]
    sets = [f"-S {key}={theirs[key]}" for key in params]
    sets += [f"-S train.precision={theirs['precision']}"] if "precision" in differing else []
    threads = f"OMP_NUM_THREADS={theirs['threads']} " if "threads" in differing else ""
    command = f"`{threads}dvc exp run {' '.join(sets)}`" if sets else f"`{threads}dvc repro`"
    before = ["the files as they were"] if files else []
    before += [f"{key} {theirs[key]}" for key in ("device", "torch") if key in differing]
    return f"with {' and '.join(before)}, {command}" if before else command


def _is_locked(folder: Path) -> bool:
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _root() -> Path:
    """The folder of all unfinished trainings; under DVC_ROOT, so that temporary experiments share it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".unfinished"
