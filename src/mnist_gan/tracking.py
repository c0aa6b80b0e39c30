"""Runs as they are written to MLflow.

Beside this module, ``runs`` reads them, ``registry`` registers their generators and ``serving`` serves these; no other
imports mlflow.

One result is one run: a run whose tag ``generator.sha256`` is the result's content hash. ``live_run`` writes it
while the training goes on; ``find`` finds it again; ``recreate`` writes it from the result's files where the
store has none; ``complete`` adds what the later stages made.
"""

import fcntl
import logging
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow.pytorch
import mlflow.store.db.utils
import numpy as np
import psutil
import safetensors.torch
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LifecycleStage,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunStatus,
    RunTag,
)
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.types import Schema, TensorSpec
from PIL.Image import Image
from torch import Tensor, nn

from mnist_gan.errors import UserError
from mnist_gan.objective import RECORD
from mnist_gan.result import TRAINING, Origin

EXPERIMENT = "mnist-gan"
EXPERIMENT_NOTE = """Generators of MNIST's digits: GAN (fully connected) against DCGAN (convolutional).

Select two runs and press **Compare**. Charts are in sections:

| section | what | unit |
| --- | --- | --- |
| `train/` | losses of generator and discriminator; `d_real`, `d_fake`: the probability of being real | nats; 0 to 1 |
| `validation/` | every checkpoint against the last 10,000 training images, which choose the best | as below |
| `judge/` | the final generator against the test images, on a digit classifier's features | as below |
| `autoencoder/` | the same on an autoencoder's features, which know no labels | as below |
| `best/` | the same for the checkpoint that validation chose | as below |
| `interval/` | 95% bootstrap intervals of all of them | |
| `floor/` | the same measures of real images; no distance is expected to be smaller | |
| `digits/` | the part of the images that the judge takes for each digit | 0 to 1 |

`frechet_distance`, `frechet_distance_infinite`, `kernel_distance`: squared distances of features, 0 is best.
`precision`, `recall`, `coverage`: 0 to 1, 1 is best. `density`: 1 is real images'. `classifier_score`: 1 to 10, 10 is
best. `total_variation`: 0 to 1, 0 is best. `digits_present`: of 10. `neighbour_accuracy`: how well real and generated
images are told apart, 0.5 is not at all. `copying`: 0.5 is as far from the training images as unseen ones, 1 is copies.

One result is one run: its tag `generator.sha256` names the final generator's file."""
CONTENT_TAG = "generator.sha256"
BATCH = 1000
"""The most metrics that MLflow takes at once."""
CONNECT_TIMEOUT_S = 5

for _noisy in ("mlflow", "alembic"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)


@dataclass(frozen=True)
class Store:
    """A tracking store that answered, and the experiment of this pipeline in it."""

    client: MlflowClient
    experiment_id: str


def connect() -> Store:
    """Open the store at MLFLOW_TRACKING_URI, by default mlflow.db in the repository's root.

    DVC_ROOT is that root also where DVC runs an experiment in a temporary folder. Runs that a killed process of
    this machine left RUNNING are set to KILLED.

    Raises:
        UserError: the store does not answer within ten seconds.
    """
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    local = f"sqlite:///{root}/mlflow.db"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or local
    mlflow.set_tracking_uri(uri)
    try:
        with _impatient(), _one_at_a_time(root) if uri == local else nullcontext():
            client = MlflowClient()
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment:
                experiment_id = experiment.experiment_id
                if experiment.tags.get("mlflow.note.content") != EXPERIMENT_NOTE:
                    client.set_experiment_tag(experiment_id, "mlflow.note.content", EXPERIMENT_NOTE)
            else:
                artifacts = str(root / "mlruns") if uri == local else None
                experiment_id = client.create_experiment(
                    EXPERIMENT, artifact_location=artifacts, tags={"mlflow.note.content": EXPERIMENT_NOTE}
                )
    except Exception as error:
        # Each kind of store fails in its own way: requests', SQLAlchemy's, a missing plugin's, MLflow's.
        reason = str(error).splitlines()[0]
        raise UserError(f"MLflow at {uri} does not answer: {reason}; start it or unset MLFLOW_TRACKING_URI") from None
    store = Store(client, experiment_id)
    _close_orphans(store)
    return store


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Let no second process of this pipeline create the local database at the same time."""
    with (root / "mlflow.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _impatient() -> Iterator[None]:
    """Short timeouts, no retries of requests to a server and few of opening a database."""
    patience = {MLFLOW_HTTP_REQUEST_MAX_RETRIES: 0, MLFLOW_HTTP_REQUEST_TIMEOUT: CONNECT_TIMEOUT_S}
    usual = {variable: variable.get_raw() for variable in patience}
    retries = mlflow.store.db.utils.MAX_RETRY_COUNT
    try:
        for variable, value in patience.items():
            variable.set(value)
        mlflow.store.db.utils.MAX_RETRY_COUNT = 2  # 0.4 s in all; mlflow's own 10 take two minutes
        yield
    finally:
        mlflow.store.db.utils.MAX_RETRY_COUNT = retries
        for variable, raw in usual.items():
            variable.unset() if raw is None else variable.set(raw)


def _close_orphans(store: Store) -> None:
    """Set runs to KILLED that are RUNNING by a process of this machine that is no more."""
    for run in store.client.search_runs([store.experiment_id], "attributes.status = 'RUNNING'"):
        host, _, process = run.data.tags.get("process", "").rpartition(" ")
        if host == socket.gethostname() and process not in map(_process_name, psutil.process_iter()):
            store.client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


def _process_name(process: psutil.Process) -> str:
    """Process id and start time; the id alone is given again."""
    return f"{process.pid}@{process.create_time():.0f}"


def _this_process() -> str:
    """Host and process, as ``_close_orphans`` reads them."""
    return f"{socket.gethostname()} {_process_name(psutil.Process())}"


def _create_run(store: Store, origin: Origin, tags: Mapping[str, str]) -> Run:
    """A new run with parameters, data set and the tags that every run carries."""
    train = origin.train
    channels, height, width = origin.image_shape
    parameters = {f"train.{key}": value for key, value in train.items()} | {
        "prepare.img_size": height,
        "prepare.channels": channels,
    }
    common = {
        "variant": origin.variant,
        "seed": train["seed"],
        "init_from": train["init_from"] or "",
        "process": _this_process(),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        **git_state(),
        **origin.environment,
        **tags,
    }
    run = store.client.create_run(
        store.experiment_id,
        run_name=f"{origin.variant} {train['epochs']} epochs seed {train['seed']}",
        tags={key: str(value) for key, value in common.items() if value != ""},
    )
    store.client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in parameters.items()])
    dataset = Dataset(
        name="mnist-train",
        digest=origin.data_sha256[:32],
        source_type="dvc",
        source="data/prepared/train.safetensors",
        profile=f'{{"images": 60000, "channels": {channels}, "height": {height}, "width": {width}}}',
    )
    store.client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    return run


def git_state() -> dict[str, str]:
    """Commit, and whether code or parameters differ from it, in MLflow's own tags; nothing outside a checkout.

    What the pipeline itself writes (dvc.lock, metrics, plots, models) makes no tree dirty.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--", ".", ":!dvc.lock", ":!metrics", ":!plots", ":!models")
        return {"mlflow.source.git.commit": git("rev-parse", "HEAD"), "mlflow.source.git.dirty": str(bool(changes))}
    except (OSError, subprocess.CalledProcessError):
        return {}


@contextmanager
def live_run(store: Store, origin: Origin, run_id: str | None) -> Iterator["LiveRun"]:
    """A run that follows a training and ends FINISHED, KILLED (SIGINT, SIGTERM) or FAILED (any exception).

    The run with ``run_id`` goes on if the store has it, otherwise a new one begins.
    """
    live = _reopen(store, run_id) if run_id else None
    resumes = live is not None
    live = live or LiveRun(store, _create_run(store, origin, {}).info.run_id)
    monitor = SystemMetricsMonitor(live.run_id, sampling_interval=5, resume_logging=resumes)
    monitor.start()
    status = RunStatus.FAILED
    try:
        yield live
        status = RunStatus.FINISHED
    except KeyboardInterrupt:
        status = RunStatus.KILLED
        live.forget()
        raise
    finally:
        live.put(monitor.finish)
        live.put(lambda: store.client.set_terminated(live.run_id, RunStatus.to_string(status)))
        live.close()


def _reopen(store: Store, run_id: str) -> "LiveRun | None":
    """The run with ``run_id``, set RUNNING by this process; None where the store does not have it."""
    client = store.client
    try:
        if client.get_run(run_id).info.lifecycle_stage != LifecycleStage.ACTIVE:
            return None
    except MlflowException:
        return None
    client.update_run(run_id, RunStatus.to_string(RunStatus.RUNNING))
    client.set_tag(run_id, "process", _this_process())
    steps = [metric.step for metric in client.get_metric_history(run_id, "epoch")]
    names = [Path(file.path).name for file in client.list_artifacts(run_id, "images")]
    # Of the two files of a picture, the small one is written last.
    samples = {int(name.split("+")[2]) for name in names if name.endswith(".webp")}
    return LiveRun(store, run_id, max(steps, default=0), samples)


class LiveRun:
    """Logs to a run from a thread of its own; what the run has already is not logged again.

    When the store fails, the training goes on untracked and ``publish`` recreates the run from the files.
    """

    def __init__(self, store: Store, run_id: str, logged_steps: int = 0, logged_samples: Iterable[int] = ()) -> None:
        """The run has the losses of the first ``logged_steps`` and the sample grids at ``logged_samples``."""
        self.store = store
        self.run_id = run_id
        self.logged_steps = logged_steps
        self.logged_samples = set(logged_samples)
        self.jobs: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="tracking")
        self.thread.start()

    def put(self, job: Callable[[], Any]) -> None:
        """Queue a call to the store."""
        self.jobs.put(job)

    def log_losses(self, first: int, losses: Tensor, epoch_steps: int, started: float, ended: float) -> None:
        """RECORD's values ``[n, 4]`` of the ``n`` steps after step ``first``, made between two Unix times."""
        times = np.linspace(started * 1000, ended * 1000, len(losses)).astype(int).tolist()
        had = max(0, self.logged_steps - first)
        self.put(lambda: log_losses(self.store, self.run_id, first + had, losses[had:], epoch_steps, times[had:]))

    def log_samples(self, step: int, grid: Image) -> None:
        """The sample grid at ``step``."""
        if step not in self.logged_samples:
            self.put(lambda: log_samples(self.store, self.run_id, step, grid))

    def complete(self, content_hash: str) -> None:
        """Name the run by its result; a result that another run has already is tagged as its reproduction."""

        def name() -> None:
            tags = [RunTag(CONTENT_TAG, content_hash)]
            if original := find(self.store, content_hash):
                tags.append(RunTag("reproduces", original.info.run_id))
            self.store.client.log_batch(self.run_id, tags=tags)

        self.put(name)

    def forget(self) -> None:
        """Drop what waits to be logged, so that an interruption is quick; a training that goes on logs it then."""
        with suppress(queue.Empty):
            while True:
                self.jobs.get_nowait()

    def close(self) -> None:
        """Wait until everything is logged."""
        self.jobs.put(None)
        self.thread.join()

    def _work(self) -> None:
        lost = False
        while job := self.jobs.get():
            try:
                lost or job()
            except Exception as error:
                lost = True
                print(f"tracking lost, training goes on, `dvc repro` completes the run: {error}", file=sys.stderr)


def log_losses(store: Store, run_id: str, first: int, losses: Tensor, epoch_steps: int, times: Iterable[int]) -> None:
    """RECORD's values ``[n, 4]`` of the steps after step ``first``, and the epoch as a number with a fraction.

    ``times`` are ``n`` Unix times in milliseconds.
    """
    metrics = [
        Metric(key, value, timestamp, step)
        for step, (timestamp, record) in enumerate(zip(times, losses.tolist(), strict=True), start=first + 1)
        for key, value in [*zip(TRAIN_METRICS, record, strict=True), ("epoch", step / epoch_steps)]
    ]
    for start in range(0, len(metrics), BATCH):
        store.client.log_batch(run_id, metrics=metrics[start : start + BATCH])


TRAIN_METRICS = [f"train/{name}" for name in RECORD]


def log_samples(store: Store, run_id: str, step: int, grid: Image) -> None:
    """The sample grid at ``step``, under the key that MLflow's image grid compares runs by."""
    store.client.log_image(run_id, grid, key="samples", step=step, synchronous=True)


def find(store: Store, content_hash: str) -> Run | None:
    """The run of the result with ``content_hash``, the oldest where it was reproduced."""
    runs = store.client.search_runs(
        [store.experiment_id],
        f"tags.`{CONTENT_TAG}` = '{content_hash}' AND attributes.status = 'FINISHED'",
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    return runs[0] if runs else None


def recreate(
    store: Store, content_hash: str, origin: Origin, losses: Tensor, grids: Mapping[int, Image], epoch_steps: int
) -> Run:
    """Write the run of a result from its files: ``losses`` ``[steps, 4]``, sample ``grids`` by step.

    The original's times are not known: those of the recreated run are of its making, and its tag ``recreated`` says so.
    """
    run_id = _create_run(store, origin, {"recreated": "true"}).info.run_id
    now = int(time.time() * 1000)
    log_losses(store, run_id, 0, losses, epoch_steps, range(now, now + len(losses)))
    for step, grid in grids.items():
        log_samples(store, run_id, step, grid)
    store.client.set_tag(run_id, CONTENT_TAG, content_hash)
    store.client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED))
    return store.client.get_run(run_id)


def read_training(store: Store, content_hash: str) -> dict[str, Tensor]:
    """The state at the end of the training whose generator's hash begins with ``content_hash``, from its run.

    Raises:
        UserError: no run has it, or the artifact is gone.
    """
    runs = store.client.search_runs(
        [store.experiment_id], f"tags.`{CONTENT_TAG}` LIKE '{content_hash}%' AND tags.published != ''", max_results=1
    )
    if not runs:
        raise UserError(f"train.init_from: no published run in MLflow has a generator {content_hash}...")
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.client.download_artifacts(runs[0].info.run_id, TRAINING.name, folder)
        except (OSError, MlflowException):
            raise UserError(f"train.init_from: run {runs[0].info.run_id} has no {TRAINING.name} any more") from None
        return safetensors.torch.load_file(path)


def is_complete(run: Run, files_hash: str) -> bool:
    """Whether ``complete`` has added the files with ``files_hash`` to ``run``."""
    return bool(run.data.tags.get("published") == files_hash)


def complete(
    store: Store,
    run: Run,
    files_hash: str,
    checkpoints: Iterable[tuple[nn.Module, Origin]],
    validation: Mapping[int, Mapping[str, float]],
    quality: Mapping[str, float],
    files: Iterable[Path],
    note: str,
) -> None:
    """Add to ``run`` what follows the training, but for what it has already.

    Args:
        checkpoints: the generators, each becomes a LoggedModel.
        validation: measures of each checkpoint by its step; linked to its LoggedModel.
        quality: metrics of the final generator.
        files: files and folders to keep with the run.
        note: Markdown that the UI shows as the run's description.
    """
    client, run_id, last = store.client, run.info.run_id, max(validation)
    logged = {key: _by_step(client.get_metric_history(run_id, f"validation/{key}")) for key in validation[last]}
    for generator, origin in checkpoints:
        model_id = _log_generator(store, run_id, generator, origin)
        for key, value in validation[origin.step].items():
            if logged[key].get(origin.step) != value:
                client.log_metric(run_id, f"validation/{key}", value, step=origin.step, model_id=model_id)
    now = int(time.time() * 1000)
    metrics = [Metric(key, value, now, last) for key, value in quality.items() if run.data.metrics.get(key) != value]
    client.log_batch(run_id, metrics=metrics, tags=[RunTag("mlflow.note.content", note)])
    for path in files:
        if path.is_dir():
            client.log_artifacts(run_id, str(path), path.name)
        else:
            client.log_artifact(run_id, str(path))
    client.set_tag(run_id, "published", files_hash)


def _by_step(history: Iterable[Metric]) -> dict[int, float]:
    """The latest value of a metric at each step."""
    return {metric.step: metric.value for metric in sorted(history, key=lambda metric: metric.timestamp)}


def _log_generator(store: Store, run_id: str, generator: nn.Module, origin: Origin) -> str:
    """The id of the LoggedModel of ``generator``."""
    latents = np.zeros((2, origin.latent_dim), np.float32)
    signature = ModelSignature(
        Schema([TensorSpec(latents.dtype, (-1, origin.latent_dim))]),
        Schema([TensorSpec(latents.dtype, (-1, *origin.image_shape))]),
    )

    def save(path: Path, model: Model) -> None:
        mlflow.pytorch.save_model(
            generator,
            path,
            mlflow_model=model,
            signature=signature,
            input_example=latents,
            pip_requirements=requirements("mlflow", "torch"),
        )

    return log_model(store, run_id, f"{origin.variant}-epoch-{origin.epoch:04}", origin.epoch, origin.step, save)


def log_model(store: Store, run_id: str, name: str, epoch: int, step: int, save: Callable[[Path, Model], None]) -> str:
    """The id of the run's LoggedModel ``name``, written by ``save`` unless the run has it whole."""
    for model in store.client.search_logged_models(
        [store.experiment_id], f"source_run_id = '{run_id}' AND name = '{name}'"
    ):
        if model.status == LoggedModelStatus.READY:
            return str(model.model_id)
        store.client.delete_logged_model(model.model_id)
    model = store.client.create_logged_model(
        store.experiment_id,
        name=name,
        source_run_id=run_id,
        params={"epoch": str(epoch), "step": str(step)},
        model_type="generator",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        save(path, Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id))
        store.client.log_model_artifacts(model.model_id, str(path))
    store.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    return str(model.model_id)


def requirements(*packages: str) -> list[str]:
    """``packages`` at their versions here, without a build's local part, which no index has."""
    return [f"{package}=={version(package).partition('+')[0]}" for package in packages]
