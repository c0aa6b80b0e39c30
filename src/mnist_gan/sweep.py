"""Train each variant with each seed through DVC's queue, then write their comparison.

An experiment is named by its variant, epochs and seed, and by what else determines its result: the code of the stages
and params.yaml. One that is there and published in MLflow is not run again.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import get_args

import psutil
import yaml

from mnist_gan import compare, runs, tracking
from mnist_gan.config import Variant
from mnist_gan.errors import UserError, run_stage
from mnist_gan.tracking import Store

WORKER_S = 60
"""Without a worker for so many seconds, the queue is dead; one starts in ten."""


def main() -> None:
    """Queue what is missing, work the queue off, write reports/."""
    options = parser().parse_args()
    store = tracking.connect()
    state = state_hash()
    changes = {
        f"{variant}-{epochs}-seed{seed}-{state}": {"variant": variant, "epochs": epochs, "seed": seed}
        for seed in options.seeds
        for variant, epochs in options.epochs
    }
    while queue_missing(store, changes) and not work_off():
        print("the queue's worker died: the next one goes on", flush=True)
    made = {name: generator(name) for name in changes}
    if failed := [name for name, content_hash in made.items() if content_hash is None]:
        raise UserError(f"{failed[0]} failed: `dvc queue logs {failed[0]}` says why")
    with runs.failing_in_one_line():
        compare.write(store, runs.named(store, [str(content_hash) for content_hash in made.values()]), options.output)


def queue_missing(store: Store, changes: Mapping[str, Mapping[str, object]]) -> bool:
    """Queue the experiments whose runs are not there, by name with their parameters; whether there are any."""
    there = {runs.content_hash(run) for run in runs.published(store)}
    waiting = pending()
    for name, change in changes.items():
        if generator(name) in there:
            print(f"{name}: is there", flush=True)
        elif name not in waiting:
            if generator(name):
                dvc("exp", "remove", name)
            dvc("exp", "run", "--queue", "--name", name, *(f"-Strain.{key}={value}" for key, value in change.items()))
            print(f"{name}: queued", flush=True)
    return any(generator(name) not in there for name in changes)


def work_off() -> bool:
    """Whether the queue was worked off; False where its worker died, for which DVC would wait for ever.

    That happens without any kill: the worker's messages are files, and it ends on one that is not written yet.
    """
    runner = subprocess.Popen([sys.executable, "-m", "dvc", "exp", "run", "--run-all"])
    seen = time.monotonic()
    try:
        while runner.poll() is None and time.monotonic() - seen < WORKER_S:
            with suppress(subprocess.TimeoutExpired):
                runner.wait(5)
            if any(
                "queue-worker" in (process.info["cmdline"] or ()) and process.info["cwd"] == str(Path.cwd())
                for process in psutil.process_iter(["cmdline", "cwd"])
            ):
                seen = time.monotonic()
        return runner.poll() is not None
    finally:
        runner.kill()
        runner.wait()


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan.sweep", description=__doc__)
    made.add_argument("--epochs", nargs="+", type=variant_and_epochs, metavar="VARIANT=EPOCHS", required=True)
    made.add_argument("--seeds", nargs="+", type=seed, default=[0, 1, 2])
    made.add_argument("--output", type=Path, default=Path("reports"), help="folder of the report")
    return made


def variant_and_epochs(text: str) -> tuple[str, int]:
    """``gan=100`` as ``("gan", 100)``; raises ArgumentTypeError for what is no variant and its epochs."""
    variant, _, epochs = text.partition("=")
    if variant not in get_args(Variant) or not epochs.isdecimal() or int(epochs) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no variant and its epochs, such as gan=100")
    return variant, int(epochs)


def seed(text: str) -> int:
    """A seed that params.yaml admits; raises ArgumentTypeError for another."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: a whole number from 0 to 2**63 - 1")
    return int(text)


def pending() -> set[str]:
    """The names of the experiments that are queued or running; what a killed worker left as running is given up."""
    status = dvc("queue", "status")
    found = dict(re.findall(r"^\w{7} +(\S+) .* (Queued|Running) *$", status, re.MULTILINE))
    orphans = {name for name, state in found.items() if state == "Running"} if "status: 0 active" in status else set()
    if orphans:
        dvc("queue", "kill", "--force", *orphans)
    return found.keys() - orphans


def state_hash() -> str:
    """Seven digits for the working tree's stages: their code, dvc.yaml, params.yaml and the frozen networks."""
    pipeline = yaml.safe_load(Path("dvc.yaml").read_text())
    code = {dep for stage in pipeline["stages"].values() for dep in stage["deps"] if dep.startswith("src/")}
    frozen = map(str, Path("models").glob("*.safetensors"))
    digest = hashlib.sha256()
    for path in sorted({*code, *frozen, "dvc.yaml", "params.yaml"}):
        digest.update(path.encode() + Path(path).read_bytes())
    return digest.hexdigest()[:7]


def generator(name: str) -> str | None:
    """SHA-256 of the generator that the experiment with this name made; None where there is none."""
    listed = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname)", "refs/exps"], capture_output=True, text=True, check=True
    )
    for reference in listed.stdout.split():
        if reference.endswith(f"/{name}"):
            shown = subprocess.run(["git", "show", f"{reference}:metrics/train.json"], capture_output=True, check=True)
            return str(json.loads(shown.stdout)["generator"])
    return None


def dvc(*arguments: str) -> str:
    """What ``dvc`` prints; raises UserError with its complaint where it fails."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc {' '.join(arguments)}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


if __name__ == "__main__":
    run_stage(main)
