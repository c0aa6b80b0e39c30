"""One run of MLflow: what is logged to it, and what it says."""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import mlflow.pytorch
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from mnist_gan.errors import UserError
from mnist_gan.files import flatten
from mnist_gan.quality.panel import HEADLINES
from mnist_gan.tracking.states import State
from mnist_gan.training.generators import Checkpoint
from mnist_gan.training.unfinished import Finish

CONTENT_TAG = "generator.sha256"
TRAINING_TAG = "training"
"""The id of the training that a run follows."""
STATE_TAG = "state"
"""What its state means."""
PRIMARY = "judge/frechet_distance"
"""The metric that verdicts and promotions go by: squared Fréchet distance to the test images, 0 is best."""
VALIDATION = "validation/frechet_distance"
"""The metric that chooses among generators: the same distance to the validation images, by checkpoint."""
SAMPLES = "samples"
FINAL_SAMPLES = "final"
"""The last of them, at step 0: MLflow shows pictures side by side only where runs have them at one step."""
BATCH = 1000
"""The most metrics that MLflow takes at once."""


class Point(NamedTuple):
    """A point of the curves: the mean record ``[R]`` of the steps up to ``step``, and when it was made."""

    step: int
    values: list[float]
    time_ms: int


class TrackedRun:
    """A run. What it says is as it was when this object was made; ``reread`` makes a new one."""

    def __init__(self, client: MlflowClient, entity: Run) -> None:
        self.client = client
        self.id: str = entity.info.run_id
        self.name = str(entity.info.run_name)
        self.experiment_id: str = entity.info.experiment_id
        self.params: dict[str, str] = entity.data.params
        self.metrics: dict[str, float] = entity.data.metrics
        self.tags: dict[str, str] = entity.data.tags
        self.status: str = entity.info.status
        outputs = entity.outputs.model_outputs if entity.outputs else ()
        self.linked = {output.model_id for output in outputs}
        """The LoggedModels that MLflow shows with the run."""

    def reread(self) -> "TrackedRun":
        """The run as it is now."""
        return TrackedRun(self.client, self.client.get_run(self.id))

    @property
    def content_hash(self) -> str:
        """SHA-256 of the run's final generator."""
        return self.tags[CONTENT_TAG]

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self.params.get("data.name", "mnist")  # 0.2.0 had no other

    @property
    def start(self) -> str:
        """What the training went on from; empty where that was nothing."""
        name = self.params.get("train.init_from", "none")
        return "" if name.lower() == "none" else name

    @cached_property
    def quality(self) -> dict[str, float]:
        """All measures of the result, by name.

        Raises:
            UserError: the store does not have them any more.
        """
        measures = flatten(json.loads(self.artifact("metrics/evaluate.json")))
        if "data/noun" in measures:
            return measures
        return {name.replace("digits", "classes"): value for name, value in measures.items()}  # as 0.2.0 called them

    def history(self, metric: str) -> NDArray[np.float64]:
        """Steps, values and Unix times in seconds of a metric: ``[3, n]``, by step; the latest value of each."""
        points = sorted(self.client.get_metric_history(self.id, metric), key=lambda point: point.timestamp)
        latest = {point.step: (point.step, point.value, point.timestamp / 1000) for point in points}
        return np.array([latest[step] for step in sorted(latest)]).reshape(-1, 3).T

    def artifact(self, path: str) -> bytes:
        """The bytes of one of the run's files.

        Raises:
            UserError: the store does not have it.
        """
        for name in (path, path.replace("classes", "digits")):  # as 0.2.0 called it
            with tempfile.TemporaryDirectory() as folder, suppress(OSError, MlflowException):
                return Path(self.client.download_artifacts(self.id, name, folder)).read_bytes()
        raise UserError(
            f"{path} of run {self.id} cannot be read: if it is gone, delete the run, and `dvc repro` "
            "of its parameters writes it anew"
        )

    def sampled_steps(self, key: str = SAMPLES) -> set[int]:
        """The steps whose sample grids the run has."""
        names = [Path(file.path).name for file in self.client.list_artifacts(self.id, "images")]
        # Of the two files of a picture, the small one is written last.
        return {int(name.split("+")[2]) for name in names if name.startswith(f"{key}+") and name.endswith(".webp")}

    def logged_steps(self) -> int:
        """The step up to which the run has the curves of the record."""
        return int(self.history("epoch")[0].max(initial=0))

    def enter(self, state: State, time_ms: int | None = None) -> None:
        """Be in ``state``; where that is an end, since ``time_ms``, by default now."""
        self.tag({STATE_TAG: state.tag})
        if state.is_over:
            self.client.set_terminated(self.id, state.name, time_ms)
        else:
            self.client.update_run(self.id, state.name)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_losses(self, names: Sequence[str], points: Iterable[Point], epoch_steps: int) -> None:
        """Points of the record's curves, ``names`` of its R values, and the epoch as a number with a fraction."""
        keys = [*(f"train/{name}" for name in names), "epoch"]
        self._log(
            [
                Metric(key, value, point.time_ms, point.step)
                for point in points
                for key, value in zip(keys, [*point.values, point.step / epoch_steps], strict=True)
            ]
        )

    def log_samples(self, step: int, grid: Image, key: str = SAMPLES) -> None:
        """The sample grid at ``step``, under the key that MLflow's image grid compares runs by."""
        self.client.log_image(self.id, grid, key=key, step=step, synchronous=True)

    def log_validation(self, checkpoints: Sequence[Checkpoint], measures: Mapping[int, Mapping[str, float]]) -> None:
        """The checkpoints' models, each with its measures (by step) linked to it, but for what the run has already."""
        models = {checkpoint.step: self._log_checkpoint(checkpoint) for checkpoint in checkpoints}
        now = int(time.time() * 1000)
        missing = []
        for name in next(iter(measures.values())):
            steps, values, _ = self.history(f"validation/{name}")
            known = dict(zip(steps, values, strict=True))
            missing += [
                Metric(f"validation/{name}", measures[step][name], now, step, model_id=model_id)
                for step, model_id in models.items()
                if known.get(step) != measures[step][name]
            ]
        self._log(missing)

    def log_quality(self, measures: Mapping[str, float], step: int) -> None:
        """HEADLINES of the final generator and which checkpoint was best, but for what the run has already.

        All measures are in its file metrics/evaluate.json.
        """
        now, known = int(time.time() * 1000), self.metrics
        names = [name for name in (*HEADLINES, "best/epoch") if known.get(name) != measures[name]]
        self._log([Metric(name, measures[name], now, step) for name in names])

    def log_files(self, files: Mapping[str, Path]) -> None:
        """Keep files, under the names and in the folders that the keys say."""
        for name, path in files.items():
            self.client.log_artifact(self.id, str(path), name.rpartition("/")[0] or None)

    def _log(self, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(self.id, metrics=metrics[start : start + BATCH])

    def _log_checkpoint(self, checkpoint: Checkpoint) -> str:
        """The id of the LoggedModel of a generator: latent vectors in, images out."""
        origin = checkpoint.origin
        latents = np.zeros((2, origin.latent_dim), np.float32)
        signature = ModelSignature(
            Schema([TensorSpec(latents.dtype, (-1, origin.latent_dim))]),
            Schema([TensorSpec(latents.dtype, (-1, *origin.image_shape))]),
        )

        def save(path: Path, model: Model) -> None:
            mlflow.pytorch.save_model(
                checkpoint.generator,
                path,
                mlflow_model=model,
                signature=signature,
                input_example=latents,
                pip_requirements=requirements("mlflow", "torch"),
            )

        return self.log_model(f"{origin.variant}-epoch-{checkpoint.epoch:04}", checkpoint, save)

    def log_model(self, name: str, checkpoint: Checkpoint, save: Callable[[Path, Model], None]) -> str:
        """The id of the run's LoggedModel ``name``, written by ``save`` unless the run has it whole.

        By hand: ``Model.log`` reads the history of every metric of the run for each model, and logs what it finds at
        the model's step a second time.
        """
        client = self.client
        found = client.search_logged_models([self.experiment_id], f"source_run_id = '{self.id}' AND name = '{name}'")
        ready = [model for model in found if model.status == LoggedModelStatus.READY]
        for model in found:
            if model not in ready:
                client.delete_logged_model(model.model_id)
        model = ready[0] if ready else self._write_model(name, checkpoint, save)
        if model.model_id not in self.linked:
            client.log_outputs(self.id, [LoggedModelOutput(model.model_id, checkpoint.step)])
        return str(model.model_id)

    def _write_model(self, name: str, checkpoint: Checkpoint, save: Callable[[Path, Model], None]) -> LoggedModel:
        client = self.client
        model = client.create_logged_model(
            self.experiment_id,
            name=name,
            source_run_id=self.id,
            params={"epoch": str(checkpoint.epoch), "step": str(checkpoint.step)},
            model_type="generator",
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model")
            save(path, Model(artifact_path=model.artifact_location, run_id=self.id, model_id=model.model_id))
            client.log_model_artifacts(model.model_id, str(path))
        return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def window_of(epoch_steps: int) -> int:
    """Steps that one point of a curve stands for: ten points an epoch.

    A point for each step would cost more than the step: logging is Python's work, and so is giving work to a processor.
    """
    return max(1, epoch_steps // 10)


def window_means(first: int, values: Tensor, window: int) -> list[tuple[int, list[float]]]:
    """The record's ``values`` ``[n, R]`` of the steps after step ``first`` as means over windows, with their last step.

    Every window has ``window`` steps, but for the last, which may have fewer.
    """
    ends = range(first + window, first + len(values) + window, window)
    means = [part.double().mean(dim=0).tolist() for part in values.split(window) if len(part)]
    return [(min(end, first + len(values)), mean) for end, mean in zip(ends, means, strict=True)]


def training_tags(finish: Finish) -> dict[str, str]:
    """What a training's end says of its result."""
    return {CONTENT_TAG: finish.generator, "training.seconds": f"{finish.seconds:.0f}"}


def requirements(*packages: str) -> list[str]:
    """``packages`` at their versions here, without a build's local part, which no index has."""
    return [f"{package}=={version(package).partition('+')[0]}" for package in packages]
