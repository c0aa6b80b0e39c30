"""The tracking store: opened once by ``connect``, asked for runs, given new ones."""

import getpass
import json
import logging
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
import mlflow.store.db.utils
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Param
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_TRACKING_PASSWORD,
    MLFLOW_TRACKING_USERNAME,
)
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.telemetry import set_telemetry_client
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from mnist_gan import config, stops
from mnist_gan.data.prepared import count
from mnist_gan.errors import UserError, command
from mnist_gan.files import root
from mnist_gan.tracking import view
from mnist_gan.tracking.address import (
    ANSWER_S,
    DATABASE,
    Address,
    alone_in,
    make_database,
    move_artifacts,
    named,
    reason,
    unusable,
    without_secrets,
)
from mnist_gan.tracking.run import CONTENT_TAG, STATE_TAG, TRAINING_TAG, TrackedRun
from mnist_gan.tracking.states import State
from mnist_gan.training.generators import Origin
from mnist_gan.training.unfinished import Unfinished, left_alone

EXPERIMENT = "mnist-gan"
EXPERIMENT_NOTE = """Generators of images, by data set and variant.

**Views**, then **Generators side by side**: samples, losses and distances of all runs. Or select two runs and press
**Compare**. Other charts are in sections:

| section | what | unit |
| --- | --- | --- |
| `train/` | losses of generator and discriminator, and what else the variant records | nats |
| `validation/` | every checkpoint against training images drawn at random, which choose the best | as below |
| `judge/` | the final generator against the test images, on five classifiers' features | as below |
| `autoencoder/` | the same on an autoencoder's features, which know no labels | as below |
| `told_apart/` | how often a fresh judge tells its images from real ones: 0.5 is chance, 1 is always | part of cases |
| `best/` | the checkpoint that validation chose | epoch |

A run's description has intervals and what real images get; its file `metrics/evaluate.json` has every measure.

`d_real`, `d_fake`: the mean probability of being real that the discriminator gives. `margin`: by how much a real
image's logit exceeds a generated one's. `penalty`: R1, or R1 and R2, of the steps that have them.

`frechet_distance`: a squared distance of features, 0 is best. `precision`, `recall`, `coverage`: 0 to 1, 1 is best.
`classes_present`: how many are drawn. `total_variation`: by how much the classes' shares are off, 0 is best.
`copies`: the part of the images that are too near to a training image; real images have 0.01. `nearest_in_training`:
the part whose nearest real image is a training image, not a test image.

One result is one run: its tag `generator.sha256` names the final generator's file. The tag `state` says what a run
that is not FINISHED waits for."""
EXPERIMENT_TAGS = {
    "mlflow.note.content": EXPERIMENT_NOTE,
    # What the UI opens in: charts and runs, not traces of language models.
    "mlflow.experimentKind": "custom_model_development",
    view.TAG: view.saved(),
}
PUBLISHED = "attributes.status = 'FINISHED' AND tags.published != ''"


@dataclass(frozen=True)
class Store:
    """A tracking store that answered, and the experiment of this pipeline in it."""

    client: MlflowClient
    experiment_id: str

    @property
    def is_local(self) -> bool:
        """Whether it is a file of this machine, which no other machine reaches."""
        return str(self.client.tracking_uri).startswith(("sqlite", "file:"))

    def begin(self, training_id: str, origin: Origin) -> tuple[TrackedRun, bool]:
        """The run that follows the training with this id, RUNNING, and whether the store had it.

        Raises:
            UserError: the store takes no files.
        """
        known = self.of_training(training_id)
        if known:
            known.enter(State.RUNNING)
            self._describe(known, origin)  # a stop may have come before it was
        run = known or self.create_run(origin, {TRAINING_TAG: training_id})
        try:
            with stops.kept():
                run.log_files({"params.yaml": Path("params.yaml")})
        except Exception as error:
            with suppress(Exception):
                run.enter(State.FAILED)
            raise UserError(f"MLflow takes no files: {reason(error)}; the next start goes on with this run") from None
        return run, known is not None

    def create_run(self, origin: Origin, tags: Mapping[str, str]) -> TrackedRun:
        """A new run with parameters, data set and the tags that every run carries."""
        data, epochs, seed = config.load().data.name, origin.options["epochs"], origin.shared["seed"]
        common = {
            STATE_TAG: State.RUNNING.tag,
            "variant": origin.variant,
            "seed": seed,
            "data": data,
            "init_from": origin.shared["init_from"],
            "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
            "mlflow.user": user(),
            "mlflow.source.name": "dvc repro",
            "mlflow.source.type": "PROJECT",
            **git_state(),
            **origin.environment,
            **tags,
        }
        made = self.client.create_run(
            self.experiment_id,
            run_name=f"{'' if data == 'mnist' else f'{data} '}{origin.variant} {epochs} epochs seed {seed}",
            tags={key: str(value) for key, value in common.items() if value != ""},
        )
        run = TrackedRun(self.client, made)
        self._describe(run, origin)
        return run

    def _describe(self, run: TrackedRun, origin: Origin) -> None:
        """Parameters and data set, once however often this is called."""
        channels, height, width = origin.image_shape
        data = config.load().data.name
        params = origin.params | {"data.name": data, "prepare.img_size": height, "prepare.channels": channels}
        self.client.log_batch(run.id, params=[Param(key, str(value)) for key, value in params.items()])
        dataset = Dataset(
            name=f"{data}-train",
            digest=origin.data_sha256[:32],
            source_type="dvc",
            source="data/prepared/train.safetensors",
            profile=json.dumps({"images": count("train"), "channels": channels, "height": height, "width": width}),
        )
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
        _once_more(self.client.log_inputs, run.id, inputs)

    def close_stopped(self) -> None:
        """Set the runs to KILLED whose training has stopped: RUNNING, with nobody at the training's lock."""
        with left_alone() as trainings:
            for one in trainings.values():
                if isinstance(one, Unfinished) and one.finish is None:
                    for run in self.search(
                        f"tags.{TRAINING_TAG} = '{one.training.id}' AND attributes.status = 'RUNNING'"
                    ):
                        run.enter(State.KILLED)

    def of_training(self, training_id: str) -> TrackedRun | None:
        """The run that follows the training with this id."""
        found = self.search(f"tags.{TRAINING_TAG} = '{training_id}'")
        return found[0] if found else None

    def run(self, run_id: str) -> TrackedRun | None:
        """The run with this id; None where the store does not have it, or it was deleted."""
        try:
            found = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return TrackedRun(self.client, found) if found.info.lifecycle_stage == LifecycleStage.ACTIVE else None

    def search(self, where: str) -> list[TrackedRun]:
        """The runs that the MLflow filter ``where`` admits, oldest first."""
        found = mlflow.search_runs(
            [self.experiment_id], where, order_by=["attributes.start_time ASC"], output_format="list"
        )
        return [TrackedRun(self.client, run) for run in found]

    def last(self) -> list[TrackedRun]:
        """The run that was begun last, if there is one."""
        found = self.client.search_runs([self.experiment_id], order_by=["attributes.start_time DESC"], max_results=1)
        return [TrackedRun(self.client, run) for run in found]

    def find(self, content_hash: str) -> TrackedRun | None:
        """The run of the result with this SHA-256, the oldest where it was reproduced."""
        found = self.search(f"tags.`{CONTENT_TAG}` = '{content_hash}'")
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
            if not fits:
                raise UserError(f"no published run is named {name!r}, or has an id or generator that begins with it")
            if len(fits) > 1:
                ids = ", ".join(run.id[:12] for run in fits)
                raise UserError(f"{name!r} stands for several runs: give the start of one's id: {ids}")
            if fits[0].id not in [run.id for run in chosen]:
                chosen.append(fits[0])
        return chosen


def connect() -> Store:
    """Open the store at MLFLOW_TRACKING_URI, by default mlflow.db in the checkout.

    Raises:
        UserError: the store does not answer within ten seconds, or cannot be used.
    """
    _set_up()
    limit_requests(ANSWER_S, retries=0)
    uri = named()  # which MLflow sets, too
    try:
        address = Address.of(uri, root())
        mlflow.set_tracking_uri(address.uri)
        if address.username:
            MLFLOW_TRACKING_USERNAME.set(address.username)
            MLFLOW_TRACKING_PASSWORD.set(address.password)
        if address.database:
            make_database(address.database, lambda uri: SqlAlchemyStore(uri, address.artifacts))
            # Makes what an older one lacks; a client would, at the current folder, whose name breaks MLflow's SQL.
            SqlAlchemyStore(address.uri, address.artifacts)
        with alone_in(address.uri):
            store = _open(address)
        if address.database == root() / DATABASE and address.artifacts:
            move_artifacts(address.database, EXPERIMENT, address.artifacts)
        store.close_stopped()
    except UserError:
        raise
    except Exception as error:  # each kind of store fails in its own way: requests', SQLAlchemy's, a plugin's, MLflow's
        if "mlflow db upgrade" in str(error):
            upgrade = command("mlflow", "db", "upgrade", without_secrets(address.uri))
            raise UserError(
                f"the store is of another MLflow: if that was an older one, copy the store, then {upgrade}"
            ) from None
        raise unusable(uri, error) from None
    limit_requests(60, retries=2)
    return store


def _open(address: Address) -> Store:
    """The store at ``address`` with the pipeline's experiment."""
    client = MlflowClient(address.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        with suppress(MlflowException):  # two first starts at once: the other was quicker
            client.create_experiment(EXPERIMENT, artifact_location=address.artifacts)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            raise UserError(f"MLflow at {without_secrets(address.uri)} makes no experiment {EXPERIMENT}")
    if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        tracked = f"MLFLOW_TRACKING_URI={without_secrets(address.uri)}"
        restore = command("env", tracked, "mlflow", "experiments", "restore", "-x", experiment.experiment_id)
        raise UserError(f"the experiment {EXPERIMENT} was deleted in MLflow: {restore} brings it back")
    for key, value in EXPERIMENT_TAGS.items():
        if experiment.tags.get(key) != value:
            _once_more(client.set_experiment_tag, experiment.experiment_id, key, value)
    return Store(client, experiment.experiment_id)


def _once_more(call: Callable[..., object], *arguments: object) -> None:
    """Call, and again where MLflow fails: another run may have made the same row at this moment."""
    try:
        call(*arguments)
    except MlflowException:
        call(*arguments)


def _set_up() -> None:
    """Set up MLflow for this process: no reports to its makers, no messages that a user can do nothing about."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    set_telemetry_client()
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its exceptions say the same
    mlflow.store.db.utils.MAX_RETRY_COUNT = 2  # 0.4 s in all; mlflow's own 10 take two minutes


def limit_requests(seconds: int, retries: int) -> None:
    """Let requests take so long and be repeated so often; mlflow's own 7 repetitions take four minutes."""
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(seconds)
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(retries)


@contextmanager
def store_failures_in_one_line() -> Iterator[None]:
    """Raise UserError where the store refuses or fails within."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, RequestException) as error:
        raise UserError(f"MLflow fails: {reason(error)}; try again once it works") from None


def user() -> str:
    """Who runs this; a number where the system has no name for it, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


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


def tracking_page(run: TrackedRun, local: str = "http://127.0.0.1:5000") -> str:
    """The address of the run's page in the UI's mode for training; of a local store, on the server ``local``."""
    return f"{_runs_page(run.experiment_id, local)}/{run.id}?workflowType=machine_learning"


def pages(store: Store, local: str) -> dict[str, str]:
    """Where to look, by what is there: the runs side by side, and the last run, if there is one."""
    side_by_side = f"{_runs_page(store.experiment_id, local)}?{view.QUERY}"
    return {view.TITLE: side_by_side} | {run.name: tracking_page(run, local) for run in store.last()}


def server(store: Store, port: int) -> list[str]:
    """The module and the arguments that serve the store on 127.0.0.1; empty where it is a server."""
    uri = str(store.client.tracking_uri)
    if uri.startswith("http"):
        return []
    # One worker and no runner of MLflow's jobs, which nothing here uses: 3 processes in place of 11.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    return ["mlflow", "server", "--port", str(port), "--workers", "1", "--backend-store-uri", uri]


def _runs_page(experiment_id: str, local: str) -> str:
    uri = mlflow.get_tracking_uri()
    return f"{uri if uri.startswith('http') else local}/#/experiments/{experiment_id}/runs"
