"""Trainings on their way to a published result, kept outside DVC's outs so that nothing that was done is done twice.

Each lives in a folder of its own in .unfinished/, named by the hash of all that determines its result:

training.json       an id that no other training has, and what determines the result
state.safetensors   the engine's state, the record and the samples so far, and the seconds of training
generator/          the result so far, as ``generators`` lays it out
finished.json       the training is over and generator/ is whole: which result it is, how long it took, when it ended

The process of a training holds its lock in .unfinished/locks/; the kernel frees it however the process ends. The
folder is removed once ``publish`` has the result.
"""

import json
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from mnist_gan.config import Section
from mnist_gan.errors import UserError, command
from mnist_gan.files import read_tensors, root, sha256, write_json, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

INTERVAL_S: float = 30
"""Seconds between two writes of the state: what an interruption costs at most."""
ENVIRONMENT = ("device", "threads", "precision", "torch")
"""The inputs that are neither a parameter nor a file; on a GPU there are no threads."""
DECIDED_BY: dict[str, set[str]] = {
    "device": {"train.device"},
    "precision": {"train.device", "train.precision", "train.variant"},
    "torch": set(),
}
"""Those that no command brings back, unless one of these parameters made them differ."""


class Training(Section):
    """Which training it is: training.json."""

    id: str
    """No other training has it, in whatever checkout."""
    inputs: dict[str, str]
    """What determines its result."""


class Finish(Section):
    """How a training ended: finished.json."""

    generator: str
    """SHA-256 of the final generator's file."""
    seconds: float
    """Of training, over all its starts."""
    ended: float
    """Unix time."""


class Unfinished:
    """The folder of one training."""

    def __init__(self, folder: Path) -> None:
        """Look at ``folder``; raises UserError where what it says of the training is damaged."""
        self.folder = folder
        self.generator = folder / "generator"
        self.state = folder / "state.safetensors"
        try:
            self.training = Training.model_validate_json((folder / "training.json").read_text())
            over = folder / "finished.json"
            self.finish = Finish.model_validate_json(over.read_text()) if over.exists() else None
        except (OSError, ValueError) as error:
            raise self._damaged(error) from None
        self._before, self._began = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the training has gone on, over all its starts."""
        return self._before + time.monotonic() - self._began

    def save(self, state: "Mapping[str, Tensor]") -> None:
        """Replace the state on disk; an interruption leaves the one or the other."""
        write_tensors(self.state, state, {"seconds": round(self.seconds, 1)})

    def read(self) -> "dict[str, Tensor] | None":
        """The state that was saved last, if any was.

        Raises:
            UserError: the file is damaged.
        """
        try:
            state, about = read_tensors(self.state)
            self._before = about["seconds"]
            return state
        except FileNotFoundError:
            return None
        except (OSError, KeyError, ValueError) as error:
            raise self._damaged(error) from None

    def end(self, generator: str) -> None:
        """Mark the training as over: generator/ is whole, and its final generator has this SHA-256."""
        self.finish = Finish(generator=generator, seconds=round(self.seconds, 1), ended=time.time())
        write_json(self.folder / "finished.json", self.finish.model_dump())

    def _damaged(self, error: Exception) -> UserError:
        reason = str(error).splitlines()[0]
        return UserError(f"{self.folder} is damaged ({reason}): {command('rm', '-r', self.folder)} to train anew")


@contextmanager
def exclusive(inputs: Mapping[str, str]) -> Iterator[Unfinished]:
    """The folder of the training that ``inputs`` determine, for this process alone.

    Waits for another process that is at this very training.

    Raises:
        UserError: the folder is damaged.
    """
    folder = _root() / name(inputs)
    with locked(folder.name, "another process is at this very training"):
        listed = folder / "training.json"
        if not listed.exists():
            write_json(listed, Training(id=uuid.uuid4().hex, inputs=dict(inputs)).model_dump())
        yield Unfinished(folder)


@contextmanager
def finished(generator: str) -> Iterator[Unfinished | None]:
    """The finished training whose final generator has this SHA-256, for this process alone, if this checkout has it."""
    trainings = []
    for folder in folders():
        with suppress(UserError):
            trainings.append(Unfinished(folder))
    found = next((one for one in trainings if one.finish and one.finish.generator == generator), None)
    with locked(found.folder.name, "another process takes this result") if found else nullcontext():
        yield found if found and found.folder.exists() else None


@contextmanager
def locked(key: str, busy: str) -> Iterator[None]:
    """Hold the lock ``key`` of this checkout; while another process has it, say that it is ``busy`` and wait."""
    lock = _lock(key)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"{busy}: waiting until it ends", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def left_alone() -> Iterator[dict[Path, "Unfinished | UserError"]]:
    """The folders that no process is at, with the training or what is wrong with it; meanwhile none is taken up."""
    found: dict[Path, Unfinished | UserError] = {}
    with ExitStack() as locks:
        for folder in folders():
            with suppress(Timeout):
                locks.enter_context(_lock(folder.name).acquire(blocking=False))
                try:
                    found[folder] = Unfinished(folder)
                except UserError as damaged:
                    found[folder] = damaged
        yield found


def remove(folder: Path) -> None:
    """Forget a training. It is out of the way at once; a stop in the middle leaves what the next call removes."""
    folder.rename(_root() / f".removed-{uuid.uuid4().hex}")
    for removed in _root().glob(".removed-*"):
        shutil.rmtree(removed, ignore_errors=True)


def folders() -> list[Path]:
    """The folders of all trainings."""
    return sorted(path.parent for path in _root().glob("*/training.json"))


def name(inputs: Mapping[str, str]) -> str:
    """16 hex digits of the hash of all that determines a result."""
    return sha256(json.dumps(inputs, sort_keys=True).encode())[:16]


def passed_over(inputs: Mapping[str, str]) -> list[str]:
    """For each stopped training with other inputs: why it is not taken up, and what can be done."""
    messages = []
    with left_alone() as trainings:
        for folder, other in trainings.items():
            if isinstance(other, UserError):
                messages.append(str(other))
            elif folder.name != name(inputs) and other.finish is None and other.state.exists():
                theirs = other.training.inputs
                differing = _differing(theirs, inputs)
                reasons = ", ".join(_difference(key, theirs.get(key), inputs.get(key)) for key in differing)
                messages.append(
                    f"an unfinished {theirs.get('train.variant')} is not taken up: {reasons}. "
                    f"It stays: {_way_back(differing, theirs)} goes on with it, "
                    f"{command('rm', '-r', folder)} discards it"
                )
    return messages


def _differing(theirs: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """The inputs that are not the same; of two variants, that they are two says enough."""
    keys = sorted(key for key in theirs.keys() | here.keys() if theirs.get(key) != here.get(key))
    if "train.variant" in keys:
        keys = [key for key in keys if not re.search(r"variants[./][a-z]", key)]
    return keys


def _difference(key: str, theirs: str | None, here: str | None) -> str:
    if theirs is None or here is None:
        return f"{key} only {'here' if theirs is None else 'there'}"
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
    sets = [f"{key}={theirs[key]}" for key in params]
    threads = ["env", f"OMP_NUM_THREADS={theirs['threads']}"] if "threads" in differing and "threads" in theirs else []
    run = ["exp", "run", *(word for change in sets for word in ("-S", change))] if sets else ["repro"]
    typed = command(*threads, "dvc", *run)
    before = ["the files as they were"] if files else []
    before += [f"{key} {theirs[key]}" for key, by in DECIDED_BY.items() if key in differing and not by & {*params}]
    return f"with {' and '.join(before)}, {typed}" if before else typed


def _lock(key: str) -> FileLock:
    folder = _root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / key)


def _root() -> Path:
    """The folder of all trainings, which temporary experiments share."""
    return root() / ".unfinished"
