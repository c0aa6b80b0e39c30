"""Results as runs: written from a result's files, completed, and held against one another."""

import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import safetensors.torch
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException
from torch import Tensor

from mnist_gan.data.images import grid
from mnist_gan.errors import UserError
from mnist_gan.tracking.run import CONTENT_TAG, PRIMARY, TrackedRun, window_means, window_of
from mnist_gan.tracking.store import Store
from mnist_gan.training.generators import TRAINING, Checkpoint, Origin


def recreate(
    store: Store, content_hash: str, origin: Origin, losses: Tensor, samples: Mapping[int, Tensor], epoch_steps: int
) -> TrackedRun:
    """Write the run of a result from its files: the record ``losses`` ``[steps, R]``, images by step.

    The original's times are not known: those of the recreated run are of its making, and its tag ``recreated`` says so.
    """
    run = store.create_run(origin, {"recreated": "true"})
    now = int(time.time() * 1000)
    points = window_means(0, losses, window_of(epoch_steps))
    run.log_losses(origin.record, points, epoch_steps, [now + step for step, _ in points])
    for step, images in samples.items():
        run.log_samples(step, grid(images, columns=5))
    run.tag({CONTENT_TAG: content_hash})
    run.end(RunStatus.FINISHED)
    return run.reread()


def complete(
    run: TrackedRun,
    files_hash: str,
    checkpoints: Iterable[Checkpoint],
    validation: Mapping[int, Mapping[str, float]],
    quality: Mapping[str, float],
    files: Iterable[Path],
    note: str,
    determinants: str,
) -> None:
    """Add to ``run`` what follows the training, but for what it has already.

    Args:
        run: of the result.
        files_hash: names all of what is added.
        checkpoints: each becomes a LoggedModel.
        validation: measures of each checkpoint by its step; linked to its LoggedModel.
        quality: metrics of the final generator.
        files: files and folders to keep with the run.
        note: Markdown that the UI shows as the run's description.
        determinants: name all that determines what is added.
    """
    for checkpoint in checkpoints:
        run.log_validation(checkpoint, validation[checkpoint.step])
    run.log_quality(quality, step=max(validation))
    run.tag({"mlflow.note.content": note})
    run.log_files(files)
    run.tag({"published": files_hash, "determinants": determinants})


def is_complete(run: TrackedRun, files_hash: str, determinants: str) -> bool:
    """Whether ``complete`` has been called with these names."""
    return (run.tags.get("published"), run.tags.get("determinants")) == (files_hash, determinants)


def read_training(store: Store, content_hash: str) -> dict[str, Tensor]:
    """The state at the end of the training whose generator's hash begins with ``content_hash``, from its run.

    Raises:
        UserError: no run has it, or the artifact is gone.
    """
    runs = store.search(f"tags.`{CONTENT_TAG}` LIKE '{content_hash}%' AND tags.published != ''")
    if not runs:
        raise UserError(f"train.init_from: no published run in MLflow has a generator {content_hash}...")
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.client.download_artifacts(runs[0].id, TRAINING.name, folder)
        except (OSError, MlflowException):
            raise UserError(f"train.init_from: run {runs[0].id} has no {TRAINING.name} any more") from None
        return safetensors.torch.load_file(path)


def measured_alike(runs: Sequence[TrackedRun]) -> bool:
    """Whether all were measured with as many samples, and the same floors of real images to a thousandth."""
    rulers = ("samples", f"floor/{PRIMARY}", "floor/autoencoder/frechet_distance")
    first = runs[0].metrics
    return all(math.isclose(run.metrics[ruler], first[ruler], rel_tol=1e-3) for run in runs for ruler in rulers)
