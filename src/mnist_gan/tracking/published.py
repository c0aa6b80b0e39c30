"""Results as runs: completed, or written anew from a result's files, and held against one another."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mnist_gan.data.images import grid
from mnist_gan.tracking.run import (
    CONTENT_TAG,
    FINAL_SAMPLES,
    Point,
    TrackedRun,
    training_tags,
    window_means,
    window_of,
)
from mnist_gan.tracking.states import State
from mnist_gan.tracking.store import Store
from mnist_gan.training.generators import Checkpoint, samples_of
from mnist_gan.training.unfinished import Unfinished, finished, locked, remove

UP_TO_DATE = "up to date"


@dataclass(frozen=True)
class Result:
    """All of a result that its run is to hold."""

    content_hash: str
    """SHA-256 of the final generator's file."""
    training: Mapping[str, Tensor]
    """The state at the end of the training."""
    checkpoints: Sequence[Checkpoint]
    """Each becomes a LoggedModel; the last is the final generator."""
    validation: Mapping[int, Mapping[str, float]]
    """Measures of each checkpoint by its step, linked to its LoggedModel."""
    quality: Mapping[str, float]
    """Measures of the final generator."""
    files: Mapping[str, Path]
    """Files to keep, by their names in the run."""
    tags: Mapping[str, str]
    """What names the files and all that determines them, and what measured."""
    note: Callable[[str], str]
    """The description of the run with this id, in Markdown."""


def publish(store: Store, result: Result) -> tuple[TrackedRun, str]:
    """The run that holds all of ``result``, and what was done to it: UP_TO_DATE, ``completed`` or ``recreated``.

    One process at a time, and every part is whole or done again, so that a stop anywhere costs the next call nothing.
    """
    with (
        locked(f"publish-{result.content_hash[:16]}", "another process publishes this result"),
        finished(result.content_hash) as training,
    ):
        run = store.of_training(training.training.id) if training else None
        original = store.find(result.content_hash)
        run = run or original
        state = "recreated" if run is None else "completed"
        if run is None:
            run = _recreate(store, result)
        elif original and original.id != run.id:
            run.tag({"reproduces": original.id})
        if run.status == State.FINISHED.name and result.tags.items() <= run.tags.items():
            state = UP_TO_DATE
        else:
            _complete(run, result, training)
            run = run.reread()
        if training:
            remove(training.folder)
    return run, state


def _recreate(store: Store, result: Result) -> TrackedRun:
    """A new run for a result that the store does not have. It carries the times of now, and a tag says so."""
    run = store.create_run(result.checkpoints[-1].origin, {CONTENT_TAG: result.content_hash, "recreated": "true"})
    first = store.find(result.content_hash)
    if first and first.id != run.id:  # another checkout was quicker
        store.client.delete_run(run.id)
        return first
    return run


def _complete(run: TrackedRun, result: Result, training: Unfinished | None) -> None:
    """Add to ``run`` what it does not have; it is FINISHED last, with the end of its training as its own."""
    final = result.checkpoints[-1]
    run.tag({CONTENT_TAG: result.content_hash})
    losses, epoch_steps, now = result.training["losses"], final.step // final.epoch, int(time.time() * 1000)
    logged = run.logged_steps()
    points = [
        Point(step, means, now) for step, means in window_means(0, losses, window_of(epoch_steps)) if step > logged
    ]
    run.log_losses(final.origin.record, points, epoch_steps)
    samples, sampled = samples_of(result.training), run.sampled_steps()
    for step in sorted(samples.keys() - sampled):
        run.log_samples(step, grid(samples[step], columns=5))
    if not run.sampled_steps(FINAL_SAMPLES):
        run.log_samples(0, grid(samples[final.step], columns=5), FINAL_SAMPLES)
    run.log_validation(result.checkpoints, result.validation)
    run.log_quality(result.quality, step=final.step)
    run.log_files(result.files)
    ended = None
    if training and training.finish:
        run.tag(training_tags(training.finish))
        ended = int(training.finish.ended * 1000)
    run.tag({"mlflow.note.content": result.note(run.id), **result.tags})
    if run.status != State.FINISHED.name:
        run.enter(State.FINISHED, ended)


def measured_alike(runs: Sequence[TrackedRun]) -> bool:
    """Whether one ruler measured all, with as many samples."""
    return len({run.tags.get("ruler") for run in runs}) == 1
