"""Train each variant with each seed, through DVC's queue or on a Ray cluster, then write their comparison.

What is published in MLflow already is not trained again: a run names all that determines its result, and so does an
experiment of the queue.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from filelock import FileLock, Timeout

from mnist_gan import config, pipeline
from mnist_gan.commands._cluster import Cluster, connected
from mnist_gan.commands._dvc import dvc, show_dvc
from mnist_gan.config import VARIANTS, Config
from mnist_gan.errors import UserError, command
from mnist_gan.quality.verdict import SEEDS, smallest_ratio
from mnist_gan.report import page
from mnist_gan.report.configurations import configurations
from mnist_gan.report.progress import duration
from mnist_gan.tracking.published import measured_alike
from mnist_gan.tracking.run import PRIMARY, TrackedRun
from mnist_gan.tracking.store import Store, connect, store_failures_in_one_line
from mnist_gan.training import hardware
from mnist_gan.training.engine import hardware_for

Environments = Mapping[str, Mapping[str, str]]
"""What determines a training's result beside data, parameters and code, by variant."""
STATES = ("Failed", "Success", "Queued", "Running")
"""Of DVC's experiments."""
KILLS = 5
"""So often DVC is told to give up what a killed worker left: a process that still lives needs two."""
DEATHS = 2
"""So often the queue's worker may die with no training finished in between, before the trainings count as failed."""
WORKER_S = 60
"""Without a worker for so many seconds, the queue is dead; one starts in ten."""
MARK = "MNIST_GAN_SWEEP"
"""In the environment of every process that a sweep begins."""
PATIENCE_S = 20
"""So long may a training take to stop."""


def main() -> None:
    """Train what is missing, here or on a cluster, and write reports/."""
    options = parser().parse_args()
    params = config.load()
    if options.jobs > 1 or options.cluster:
        params = params.model_copy(update={"train": params.train.model_copy(update={"threads": 1})})
    if options.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = "1"  # of the stages after the training, too
        print(
            f"{options.jobs} trainings at a time, one thread each, which is part of what determines a result",
            flush=True,
        )
    hardware.configure(threads=params.train.threads)
    # Once each, however often they are named.
    seeds, variants = dict.fromkeys(options.seeds), dict.fromkeys(options.variants)
    store = connect()
    with connected(options.cluster) if options.cluster else nullcontext(), store_failures_in_one_line():
        workers = workers_for(store, options) if options.cluster else None
        environments = workers.environments() if workers else environments_here(params)
        trials = [
            Trial.of(params, environments, variant, epochs, seed) for seed in seeds for variant, epochs in variants
        ]
        print(outlook(trials, store.published(), len(seeds)), flush=True)
        reasons = train_on(workers, trials, store) if workers else train_here(options.jobs, trials, store)
        made = finished(store)
        present = [made[trial.determinants] for trial in trials if trial.determinants in made]
        if present:
            print(f"{page.write(present, options.output)}\n{options.output / 'compare.html'}", flush=True)
    if missing := [trial.name for trial in trials if trial.determinants not in made]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{missing[0]}{more} failed: {reasons[missing[0]]}")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan sweep", description=__doc__)
    made.add_argument(
        "--variants",
        nargs="+",
        type=variant_and_epochs,
        metavar="VARIANT[=EPOCHS]",
        required=True,
        help="epochs are those of params.yaml unless given",
    )
    made.add_argument("--seeds", nargs="+", type=seed, default=[0, 1, 2, 3, 4])
    place = made.add_mutually_exclusive_group()
    place.add_argument("--jobs", type=jobs, default=1, help="trainings at a time; more than one have one thread each")
    place.add_argument("--cluster", metavar="ADDRESS", help="train on the Ray cluster at ADDRESS, as ray.init takes it")
    made.add_argument("--gpus", type=gpus, default=0, help="of a training on a cluster: 1, a part such as 0.25, or 0")
    made.add_argument(
        "--workspace",
        default="~/.cache/mnist-gan",
        help="on the cluster's machines; if they share it, a training goes on elsewhere when its machine is gone",
    )
    made.add_argument("--output", type=Path, default=Path("reports"), help="folder of the report")
    return made


def variant_and_epochs(text: str) -> tuple[str, int | None]:
    """``gan=100`` as ``("gan", 100)``, ``gan`` as ``("gan", None)``; raises ArgumentTypeError for anything else."""
    variant, has_epochs, epochs = text.partition("=")
    if variant not in VARIANTS:
        raise argparse.ArgumentTypeError(f"{variant!r} is no variant; there are {', '.join(VARIANTS)}")
    if not has_epochs:
        return variant, None
    if not epochs.isdecimal() or int(epochs) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no variant with its epochs, such as gan=100")
    return variant, int(epochs)


def seed(text: str) -> int:
    """A seed that params.yaml admits; raises ArgumentTypeError for another."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: a whole number from 0 to 2**63 - 1")
    return int(text)


def jobs(text: str) -> int:
    """How many trainings at a time; raises ArgumentTypeError for anything else."""
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of trainings: 1 to 1000")
    return int(text)


def gpus(text: str) -> float:
    """The part of a GPU that a training gets; raises ArgumentTypeError for anything else."""
    try:
        part = float(text)
    except ValueError:
        part = -1
    if not (0 <= part <= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is no part of a GPU: 0 to 1")
    return part


@dataclass(frozen=True)
class Trial:
    """One training of the sweep."""

    name: str
    """Of its experiment."""
    changes: tuple[str, ...]
    """What it changes in params.yaml, as ``key=value``."""
    determinants: str
    """Names all that determines its result, as a run's tag does."""
    kind: tuple[str, str]
    """Variant and epochs."""

    @classmethod
    def of(cls, params: Config, environments: Environments, variant: str, epochs: int | None, seed: int) -> "Trial":
        """The training of ``variant`` with ``seed``, for ``epochs`` or as many as params.yaml says.

        Args:
            environments: what determines the result beside data, parameters and code, where it is trained.
        """
        if variant not in params.variants:
            raise UserError(f"params.yaml: variants.{variant}: missing")
        section = params.variants[variant] | ({"epochs": epochs} if epochs else {})
        changed = params.model_copy(
            update={
                "train": params.train.model_copy(update={"variant": variant, "seed": seed}),
                "variants": params.variants | {variant: section},
            }
        )
        determinants = pipeline.determinants(changed, environments[variant])
        return cls(
            f"{variant}-{section.get('epochs')}-seed{seed}-{determinants[:7]}",
            (
                f"train.variant={variant}",
                f"train.seed={seed}",
                f"train.threads={params.train.threads}",  # DVC knows results by what is in params.yaml alone
                *([f"variants.{variant}.epochs={epochs}"] if epochs else []),
            ),
            determinants,
            (variant, str(section["epochs"])),
        )


@dataclass(frozen=True)
class Plan:
    """What is to be done with trials."""

    present: list[Trial]
    """Published already."""
    missing: list[Trial]
    """Not published yet."""
    forget: list[str]
    """Experiments whose runs are gone: their names are needed again."""
    queue: list[Trial]
    """To be queued; the other missing ones wait or run already."""


def decide(trials: Sequence[Trial], done: Container[str], states: Mapping[str, str]) -> Plan:
    """What is to be done.

    Args:
        trials: what is wanted.
        done: the determinants of what is published.
        states: DVC's experiments by name, each one of STATES.
    """
    missing = [trial for trial in trials if trial.determinants not in done]
    return Plan(
        present=[trial for trial in trials if trial.determinants in done],
        missing=missing,
        forget=[trial.name for trial in missing if states.get(trial.name) == "Success"],
        queue=[trial for trial in missing if states.get(trial.name) not in ("Queued", "Running")],
    )


def environments_here(params: Config) -> Environments:
    """What determines a result beside data, parameters and code, on this machine, by variant."""
    return {
        name: hardware_for(params.train.model_copy(update={"variant": name})).environment for name in params.variants
    }


def outlook(trials: Sequence[Trial], published: Sequence[TrackedRun], seeds: int) -> str:
    """How long what is missing will take, and what so many ``seeds`` can show, by what is published."""
    made = {run.tags.get("determinants") for run in published}
    missing = [trial for trial in trials if trial.determinants not in made]
    took = {kind_of(run.params): float(run.tags.get("training.seconds", 0)) for run in published}
    known = [took[trial.kind] for trial in missing if took.get(trial.kind)]
    time = f", about {duration(sum(known))} of training" if known else ""
    part = (
        f" for {len(known)} of them, and nothing like the others is published" if 0 < len(known) < len(missing) else ""
    )
    return f"{len(missing)} of {len(trials)} trainings to do{time}{part}; {power(published, seeds)}"


def power(published: Sequence[TrackedRun], seeds: int) -> str:
    """The smallest ratio of distances that so many ``seeds`` show, by the spread over seeds of what is published."""
    if seeds < SEEDS:
        return f"{seeds} of a variant are too few for a verdict, which needs {SEEDS}"
    groups = [group.runs for group in configurations(published) if len(group.runs) > 1]
    logs = [np.log([run.metrics[PRIMARY] for run in runs]) for runs in groups if measured_alike(runs)]
    if not logs:
        least, most = (smallest_ratio(spread, seeds) for spread in (0.05, 0.12))
        return f"{seeds} of a variant show a ratio of distances of {least:.2f} to {most:.2f} with 80% power, as a rule"
    spread = math.sqrt(np.mean([values.var(ddof=1) for values in logs]))
    return (
        f"{seeds} of a variant show a ratio of distances of {smallest_ratio(spread, seeds):.2f} with 80% power, by the "
        f"spread of {sum(map(len, logs))} runs so far ({spread:.2g} of the logarithm)"
    )


def kind_of(params: Mapping[str, str]) -> tuple[str, str]:
    """Variant and epochs, which say how long a training takes."""
    return params["train.variant"], params["train.epochs"]


def train_here(jobs: int, trials: Sequence[Trial], store: Store) -> dict[str, str]:
    """Queue what is missing and work the queue off; what to ask why a trial failed, by name.

    Raises:
        UserError: DVC cannot copy the checkout: it takes its path for a URL, and for ASCII.
    """
    if refused := [sign for sign in str(Path.cwd()) if sign in "?#%" or not sign.isascii()]:
        raise UserError(f"DVC's queue does not work in a folder with {refused[0]} in its path: rename {Path.cwd()}")
    deaths, before = 0, len(trials)
    with alone_here():
        while True:
            plan = decide(trials, finished(store), settled_experiments())
            deaths, before = (deaths if len(plan.missing) == before else 0), len(plan.missing)
            act(plan)
            if not plan.missing or run_queue(jobs) or deaths == DEATHS:
                return {trial.name: f"{command('dvc', 'queue', 'logs', trial.name)} says why" for trial in trials}
            deaths += 1
            print("the queue's worker died: the next one goes on", flush=True)


@contextmanager
def alone_here() -> Iterator[None]:
    """Be this checkout's only sweep: what a sweep began ends with it, or, if it was killed, when the next one begins.

    Else DVC's workers would go on without it, with DVC's lock. The trainings go on from their last state.

    Raises:
        UserError: another sweep is at work.
    """
    try:
        alone = FileLock(".dvc/tmp/sweep.lock").acquire(timeout=0)
    except Timeout:
        raise UserError("another sweep is at work in this checkout: wait for its end, or stop it") from None
    os.environ[MARK] = "1"
    with alone:
        end_processes()
        try:
            yield
        finally:
            end_processes()


def end_processes() -> None:
    """End what sweeps began in this checkout: DVC's queue, its workers and their trainings."""
    while begun := begun_by_sweeps():  # once more, as one of them may just have begun another
        for process in begun:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, stubborn = psutil.wait_procs(begun, PATIENCE_S)
        for process in stubborn:
            process.kill()
        psutil.wait_procs(stubborn, PATIENCE_S)


def begun_by_sweeps() -> list[psutil.Process]:
    """The processes that sweeps began in this checkout and that are at work."""
    begun = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # gone, or somebody else's
            if MARK in process.environ() and Path(process.cwd()).is_relative_to(Path.cwd()):
                begun.append(process)
    return begun


def workers_for(store: Store, options: argparse.Namespace) -> Cluster:
    """The workers of a cluster, with the code of this checkout and all that a training reads.

    Raises:
        UserError: the workers cannot reach what they need.
    """
    if store.is_local:
        raise UserError("--cluster: MLflow's store is a file of this machine; name a server in MLFLOW_TRACKING_URI")
    if "(default)" not in dvc("remote", "list"):
        raise UserError("--cluster: DVC has no remote for the results: `dvc remote add --default NAME URL` names one")
    show_dvc("repro", "--quiet", "ruler")
    show_dvc("push", "prepare", "judges", "autoencoder", "ruler")
    return Cluster(options.gpus, options.workspace)


def train_on(workers: Cluster, trials: Sequence[Trial], store: Store) -> dict[str, str]:
    """Train what is missing on a cluster; why trials failed, by name."""
    made = finished(store)
    missing = {trial.name: trial.changes for trial in trials if trial.determinants not in made}
    elsewhere = dict.fromkeys(missing, "it was trained on a machine of another kind")
    return elsewhere | workers.train(missing)


def act(plan: Plan) -> None:
    """Do what ``plan`` says."""
    for trial in plan.present:
        print(f"{trial.name}: published already", flush=True)
    for name in plan.forget:
        dvc("exp", "remove", name)
    if plan.queue:  # once, in the workspace: else each of those that begin together would make the ruler
        show_dvc("repro", "--quiet", "ruler")
    for trial in plan.queue:
        dvc("exp", "run", "--queue", "--name", trial.name, *(f"-S{change}" for change in trial.changes))
        print(f"{trial.name}: queued", flush=True)


def finished(store: Store) -> dict[str, TrackedRun]:
    """The published runs by what determines their results."""
    return {run.tags.get("determinants", ""): run for run in store.published()}


def settled_experiments() -> dict[str, str]:
    """As ``experiments``, once DVC has given up those that a killed worker left as running.

    It would wait for them for ever. Its kill ends the process of an experiment where that still lives, and gives up
    only one whose process is gone.

    Raises:
        UserError: a process cannot be ended.
    """
    for _ in range(KILLS):
        states = experiments()
        left = [name for name, state in states.items() if state == "Running"]
        if not left or has_worker():
            return states
        dvc("queue", "kill", "--force", *left)
    raise UserError(f"DVC counts {left[0]} as running and cannot end it: end its process, then try again")


def experiments() -> dict[str, str]:
    """The states of DVC's experiments on this commit, by name; of several with one name, the last of STATES.

    One that somebody runs in the workspace has no worker and is none of the queue's.
    """
    shown = json.loads(dvc("exp", "show", "--json"))
    every = [experiment for commit in shown for experiment in commit["experiments"] or ()]
    executors = [(each["revs"][0]["name"], each["executor"] or {"name": None, "state": "success"}) for each in every]
    states = [(name, executor["state"].capitalize()) for name, executor in executors if executor["name"] != "workspace"]
    return dict(sorted(states, key=lambda named: STATES.index(named[1])))


def run_queue(jobs: int) -> bool:
    """Train with so many ``jobs`` at a time; whether the queue was worked off.

    False where its worker died, for which DVC would wait for ever. That happens without any kill: the worker's messages
    are files, and it ends on one that is not written yet.
    """
    runner = subprocess.Popen([sys.executable, "-m", "dvc", "exp", "run", "--run-all", "--jobs", str(jobs)])
    seen = time.monotonic()
    while runner.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            runner.wait(5)
        if has_worker():
            seen = time.monotonic()
        elif time.monotonic() - seen > WORKER_S:
            end_processes()
            runner.wait()
            return False
    return True


def has_worker() -> bool:
    """Whether a worker of DVC is at this folder's queue."""
    return any(
        "queue-worker" in (process.info["cmdline"] or ()) and process.info["cwd"] == str(Path.cwd())
        for process in psutil.process_iter(["cmdline", "cwd"])
    )
