"""The tracking store: opened once by ``connect``, asked for runs, given new ones."""

import logging
import os
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import mlflow
import mlflow.store.db.utils
import psutil
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Param, RunStatus
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.telemetry import set_telemetry_client

from mnist_gan.errors import UserError
from mnist_gan.tracking.run import CONTENT_TAG, PRIMARY, TrackedRun
from mnist_gan.training.generators import Origin

EXPERIMENT = "mnist-gan"
EXPERIMENT_NOTE = """Generators of MNIST's digits, by variant.

Select two runs and press **Compare**. Charts are in sections:

| section | what | unit |
| --- | --- | --- |
| `train/` | losses of generator and discriminator, and what else the variant records | nats |
| `validation/` | every checkpoint against the last 10,000 training images, which choose the best | as below |
| `judge/` | the final generator against the test images, on a digit classifier's features | as below |
| `autoencoder/` | the same on an autoencoder's features, which know no labels | as below |
| `best/` | the same for the checkpoint that validation chose | as below |
| `interval/` | 95% bootstrap intervals of all of them | |
| `floor/` | the same measures of real images; no distance is expected to be smaller | |
| `digits/` | the part of the images that the judge takes for each digit | 0 to 1 |

`d_real`, `d_fake`: the mean probability of being real that the discriminator gives. `margin`: by how much a real
image's logit exceeds a generated one's. `penalty`: the mean of R1 and R2.

`frechet_distance`, `frechet_distance_infinite`, `kernel_distance`: squared distances of features, 0 is best.
`precision`, `recall`, `coverage`: 0 to 1, 1 is best. `density`: 1 is real images'. `classifier_score`: 1 to 10, 10 is
best. `total_variation`: 0 to 1, 0 is best. `digits_present`: of 10. `neighbour_accuracy`: how well real and generated
images are told apart, 0.5 is not at all. `copying`: 0.5 is as far from the training images as unseen ones, 1 is copies.

One result is one run: its tag `generator.sha256` names the final generator's file."""
CONNECT_TIMEOUT_S = 5
PUBLISHED = f"attributes.status = 'FINISHED' AND tags.published != '' AND metrics.`{PRIMARY}` >= 0"


@dataclass(frozen=True)
class Store:
    """A tracking store that answered, and the experiment of this pipeline in it."""

    client: MlflowClient
    experiment_id: str

    def create_run(self, origin: Origin, tags: Mapping[str, str]) -> TrackedRun:
        """A new run with parameters, data set and the tags that every run carries."""
        channels, height, width = origin.image_shape
        params = origin.params | {"prepare.img_size": height, "prepare.channels": channels}
        common = {
            "variant": origin.variant,
            "seed": origin.shared["seed"],
            "init_from": origin.shared["init_from"] or "",
            "process": this_process(),
            "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
            **git_state(),
            **origin.environment,
            **tags,
        }
        made = self.client.create_run(
            self.experiment_id,
            run_name=f"{origin.variant} {params['train.epochs']} epochs seed {origin.shared['seed']}",
            tags={key: str(value) for key, value in common.items() if value != ""},
        )
        run = TrackedRun(self.client, made)
        self.client.log_batch(run.id, params=[Param(key, str(value)) for key, value in params.items()])
        dataset = Dataset(
            name="mnist-train",
            digest=origin.data_sha256[:32],
            source_type="dvc",
            source="data/prepared/train.safetensors",
            profile=f'{{"images": 60000, "channels": {channels}, "height": {height}, "width": {width}}}',
        )
        self.client.log_inputs(run.id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        return run

    def run(self, run_id: str) -> TrackedRun | None:
        """The run with this id; None where the store does not have it, or it was deleted."""
        try:
            found = self.client.get_run(run_id)
        except MlflowException:
            return None
        return TrackedRun(self.client, found) if found.info.lifecycle_stage == LifecycleStage.ACTIVE else None

    def search(self, where: str) -> list[TrackedRun]:
        """The runs that the MLflow filter ``where`` admits, oldest first."""
        found = mlflow.search_runs(
            [self.experiment_id], where, order_by=["attributes.start_time ASC"], output_format="list"
        )
        return [TrackedRun(self.client, run) for run in found]

    def find(self, content_hash: str) -> TrackedRun | None:
        """The run of the result with this SHA-256, the oldest where it was reproduced."""
        found = self.search(f"tags.`{CONTENT_TAG}` = '{content_hash}' AND attributes.status = 'FINISHED'")
        return found[0] if found else None

    def published(self, where: str = "") -> list[TrackedRun]:
        """The runs that ``publish`` completed and the MLflow filter ``where`` admits, oldest first.

        Raises:
            UserError: MLflow does not understand the filter.
        """
        try:
            return self.search(f"{PUBLISHED} AND {where}" if where else PUBLISHED)
        except MlflowException as error:
            if not where:
                raise
            raise UserError(f"filter {where!r}: {error.message.splitlines()[0]}") from None

    def named(self, names: Iterable[str]) -> list[TrackedRun]:
        """The published runs with these names: starts of run ids or of generators' SHA-256, or whole run names.

        Raises:
            UserError: a name is of no published run, or of several.
        """
        every = self.published()
        chosen: list[TrackedRun] = []
        for name in names:
            fits = [
                run for run in every if run.id.startswith(name) or run.content_hash.startswith(name) or run.name == name
            ]
            if len(fits) != 1:
                kinds = ", ".join(run.id[:12] for run in fits)
                found = f"stands for several: {kinds}" if fits else "is of no published run"
                raise UserError(f"run {name!r} {found}; give the start of a run's id or of its generator's hash")
            if fits[0].id not in [run.id for run in chosen]:
                chosen.append(fits[0])
        return chosen


def connect() -> Store:
    """Open the store at MLFLOW_TRACKING_URI, by default mlflow.db in the repository's root.

    DVC_ROOT is that root also where DVC runs an experiment in a temporary folder. Runs that a killed process of
    this machine left RUNNING are set to KILLED.

    Raises:
        UserError: the store does not answer within ten seconds.
    """
    _quieten()
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    local = f"sqlite:///{root}/mlflow.db"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or local
    mlflow.set_tracking_uri(uri)
    try:
        # Two processes must not create the local database at the same time.
        with _impatient(), FileLock(root / "mlflow.db.lock") if uri == local else nullcontext():
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


def _quieten() -> None:
    """Set up MLflow for this process: no reports to its makers, no messages that a user can do nothing about."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    set_telemetry_client()
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its exceptions say the same


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


@contextmanager
def store_failures_in_one_line() -> Iterator[None]:
    """Raise UserError where the store refuses or fails within."""
    try:
        yield
    except MlflowException as error:
        raise UserError(f"MLflow fails: {error.message.splitlines()[0]}; try again once it works") from None


def _close_orphans(store: Store) -> None:
    """Set runs to KILLED that are RUNNING by a process of this machine that is no more."""
    for run in store.search("attributes.status = 'RUNNING'"):
        host, _, process = run.tags.get("process", "").rpartition(" ")
        if host == socket.gethostname() and process not in map(_process_name, psutil.process_iter()):
            run.end(RunStatus.KILLED)


def _process_name(process: psutil.Process) -> str:
    """Process id and start time; the id alone is given again."""
    return f"{process.pid}@{process.create_time():.0f}"


def this_process() -> str:
    """Host and process, as ``_close_orphans`` reads them."""
    return f"{socket.gethostname()} {_process_name(psutil.Process())}"


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


def tracking_page(run: TrackedRun) -> str:
    """The address of the run's page; of a local store, where ``make ui`` shows it."""
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    base = server if server.startswith("http") else "http://127.0.0.1:5000"
    return f"{base}/#/experiments/{run.experiment_id}/runs/{run.id}"
