"""Trainings on a Ray cluster: each is done in a checkout of its own, on whichever machine has room.

Ray places, repeats, stops and logs them. What a worker does is what a person would type there: git brings the code,
DVC's remote the data, and takes the results; the run goes to MLflow's server.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mnist_gan import stops
from mnist_gan.errors import UserError, command
from mnist_gan.report.progress import duration

if TYPE_CHECKING:
    import ray

REF = "refs/mnist-gan/cluster"
"""What a bundle calls the working tree; no branch has this name."""
RETRIES = 3
"""How often Ray repeats a training whose machine is gone."""
CONNECT_S = 10
"""Seconds that a cluster may take to answer."""
STOP_S = 60
"""Seconds that stopped trainings get to save their states."""
CHECKOUT = f"""
git init --quiet .
git fetch --quiet "$BUNDLE" {REF}
git checkout --quiet --force --detach "$COMMIT"
git read-tree --reset -u FETCH_HEAD
git reset --quiet
git config user.name mnist-gan
git config user.email mnist-gan@localhost
"""
"""Makes the current folder a checkout of the commit, with the changes that were not committed."""
ENVIRONMENTS = (
    CHECKOUT
    + """
PYTHONPATH=src python -c '
import json
from mnist_gan import config
from mnist_gan.commands.sweep import environments_here
from mnist_gan.training import hardware
hardware.configure(threads=1)
print(json.dumps(environments_here(config.load())))
'
"""
)
"""Prints what determines a result beside data, parameters and code, by variant, as JSON."""
TRAINING = (
    CHECKOUT
    + """
printf %s "$DVC_CONFIG" > .dvc/config.local
dvc config --local cache.dir "$PWD/../cache"
rm -f .dvc/tmp/rwlock  # of a machine that is gone
dvc pull --quiet prepare judges autoencoder ruler
dvc exp run --allow-missing --name "$NAME" "$@"
python -c '
from dvc.repo import Repo
with Repo() as repo:
    repo.cloud.push({out.hash_info for out in repo.index.outs if not out.use_cache and out.hash_info})
'  # Metrics and plots are in no cache of DVC, but the run cache wants them.
dvc push --quiet --run-cache
cd ..
rm -r "$NAME"
"""
)
"""Trains the experiment NAME with the changes that the arguments are, takes the result to DVC's remote, tidies up."""


@dataclass(frozen=True)
class Work:
    """What a worker needs to know, whatever it is to do."""

    bundle: bytes
    """REF and its history, as ``git bundle`` writes them."""
    workspace: str
    """The folder on the worker where checkouts are made."""
    settings: Mapping[str, str]
    """Variables of the environment."""


class Cluster:
    """A Ray cluster that is connected to, and the code of this checkout."""

    def __init__(self, gpus: float, workspace: str) -> None:
        """Take the code as it is now.

        Args:
            gpus: the part of a GPU that a training gets; 0 for none.
            workspace: the folder on the workers where checkouts are made. Where it is a folder that all of them share,
                a training goes on elsewhere when its machine is gone.

        Raises:
            UserError: there is code that git does not know.
        """
        import ray

        commit, tree = working_tree()
        config = Path(".dvc/config.local")
        settings = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_TRACKING_")}
        settings |= {"COMMIT": commit, "DVC_CONFIG": config.read_text() if config.exists() else ""}
        self._work = ray.put(Work(bundle(tree), workspace, settings))
        self._gpus = gpus

    def environments(self) -> dict[str, dict[str, str]]:
        """What determines a result beside data, parameters and code, on a worker, by variant."""
        import ray

        (task,) = self._submit(ENVIRONMENTS, {"environments": ()})
        try:
            return dict(json.loads(ray.get(task)))
        except ray.exceptions.RayError as error:
            raise UserError(f"a worker of the cluster cannot train: {reason(error)}") from None

    def train(self, trainings: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Train experiments, by name with what each changes in params.yaml; why some failed, by name."""
        import ray

        arguments = {name: [f"-S{change}" for change in changes] for name, changes in trainings.items()}
        tasks = self._submit(TRAINING, arguments)
        failed: dict[str, str] = {}
        left, began, said = list(tasks), time.monotonic(), ""
        try:
            while left:
                done, left = ray.wait(left, timeout=1)
                for task in done:
                    try:
                        ray.get(task)
                    except ray.exceptions.RayError as error:
                        failed[tasks[task]] = reason(error)
                if (state := self._state(len(tasks), len(left), len(failed))) != said:
                    said = state
                    over = len(tasks) - len(left)
                    rest = (time.monotonic() - began) / over * len(left) if over else 0
                    print(f"{state}{f', about {duration(rest)} left' if rest else ''}", flush=True)
        except KeyboardInterrupt:
            for task in left:
                ray.cancel(task)
            ray.wait(left, num_returns=len(left), timeout=STOP_S)
            raise
        return failed

    def _submit(self, script: str, arguments: Mapping[str, Sequence[str]]) -> "dict[ray.ObjectRef[str], str]":
        """A task of Ray for each name, which runs ``script`` with these arguments."""
        import ray

        # By value: the workers have this package in the checkouts that they make, and nowhere else.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        task = ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=RETRIES)(run)
        return {
            task.options(name=name).remote(self._work, script, name, tuple(given)): name
            for name, given in arguments.items()
        }

    def _state(self, every: int, left: int, failed: int) -> str:
        import ray
        from ray.util.state import list_tasks
        from ray.util.state.exception import RayStateApiException

        mine = ray.get_runtime_context().get_job_id()
        at_it: list[tuple[str, str, Any]] = [
            ("job_id", "=", mine),
            ("state", "=", "RUNNING"),
            ("type", "=", "NORMAL_TASK"),
        ]
        try:
            running = min(left, len(list_tasks(filters=at_it, limit=10_000)))
        except RayStateApiException:  # Ray's dashboard, which knows it, is away or does not answer now
            return f"{left} waiting or running, {every - left - failed} done, {failed} failed"
        return f"{left - running} waiting, {running} running, {every - left - failed} done, {failed} failed"


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to the Ray cluster at ``address``, in any form that ``ray.init`` takes.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    try:
        import ray
    except ImportError:
        raise UserError("--cluster needs Ray: `pip install '.[cluster]'`") from None
    try:
        named = urlsplit(f"//{address.removeprefix('ray://')}")
        if named.port:  # Ray itself tries for more than ten minutes
            socket.create_connection((named.hostname, named.port), timeout=CONNECT_S).close()
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from None
    stops.interrupt()  # Ray has a handler of its own
    try:
        yield
    finally:
        ray.shutdown()


def working_tree() -> tuple[str, str]:
    """The commit, and a revision with what was changed in the working tree since, as DVC takes it to an experiment.

    Raises:
        UserError: there is code that git does not know, or a history that git has only a part of.
    """
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise UserError("this clone is shallow, and no bundle can be made of it: `git fetch --unshallow`")
    if unknown := git("ls-files", "-z", "--others", "--exclude-standard", "src", "dvc.lock"):
        path, *_ = unknown.split("\0")
        raise UserError(f"git does not know {path}, which the workers need: {command('git', 'add', Path(path))}")
    commit = git("rev-parse", "HEAD")
    if changes := git("diff", "--name-only", "HEAD"):
        print(f"uncommitted, and taken to the workers: {', '.join(changes.splitlines())}", flush=True)
    # Without an identity, stash makes no commit.
    stashed = git("-c", "user.name=mnist-gan", "-c", "user.email=mnist-gan@localhost", "stash", "create")
    return commit, stashed or commit


def bundle(revision: str) -> bytes:
    """``revision`` and its history as one file, under the name REF."""
    git("update-ref", REF, revision)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "bundle")
            git("bundle", "create", "--quiet", str(path), REF)
            return path.read_bytes()
    finally:
        git("update-ref", "-d", REF)


def git(*arguments: str) -> str:
    """What git prints; raises UserError with its complaint where it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {(done.stderr.strip().splitlines() or [''])[-1]}")
    return done.stdout.strip()


def reason(error: Any) -> str:
    """Why a task failed, in one line: what it raised itself, or what Ray says of it."""
    return str(getattr(error, "cause", None) or error).strip().splitlines()[0]


def run(work: Work, script: str, name: str, arguments: Sequence[str]) -> str:
    """On a worker: run a shell's ``script`` in the folder ``name`` of the workspace; the last line that it prints.

    Raises:
        RuntimeError: it fails; the message is its last line, or the last that begins with "error: ".
    """
    folder = Path(work.workspace).expanduser() / name
    folder.mkdir(parents=True, exist_ok=True)
    log = Path(f"{folder}.log")
    with tempfile.NamedTemporaryFile() as bundled:
        bundled.write(work.bundle)
        bundled.flush()
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        here = {"BUNDLE": bundled.name, "NAME": name, "PATH": programs, "PYTHONUNBUFFERED": "1"}
        # The lock is free when the last process that has it ends: nobody works beside what a killed worker left behind.
        command = ["flock", f"{folder}.lock", "sh", "-ec", script, "sh", *arguments]
        with subprocess.Popen(["tee", str(log)], stdin=subprocess.PIPE) as tee:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | work.settings | here,
                stdout=tee.stdin,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a stop is for all of it
            )
            try:
                while process.poll() is None:
                    time.sleep(0.2)  # Ray interrupts Python's code, not a wait of the system
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
                    process.wait()
    lines = log.read_text(errors="replace").strip().splitlines() or [""]
    if process.returncode:
        errors = [line for line in lines if line.startswith("error: ")]
        raise RuntimeError((errors or lines)[-1].removeprefix("error: "))
    return lines[-1]
