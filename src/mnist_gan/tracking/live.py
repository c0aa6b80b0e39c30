"""A run that follows a training while it goes on."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import torch
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from PIL.Image import Image
from torch import Tensor

from mnist_gan import stops
from mnist_gan.data.images import grid
from mnist_gan.tracking.address import reason
from mnist_gan.tracking.run import Point, TrackedRun, training_tags, window_means, window_of
from mnist_gan.tracking.states import State
from mnist_gan.tracking.store import Store, limit_requests, store_failures_in_one_line
from mnist_gan.training.generators import Origin
from mnist_gan.training.unfinished import Unfinished

INTERVAL_S = 5
"""Seconds between two offers to the store."""
PATIENCE_S = 3
"""The most seconds that the end of a training waits until all is offered, or a request of the other thread takes."""


@contextmanager
def stopped_runs_closed(store: Store) -> Iterator[None]:
    """Set this checkout's run to KILLED at the end, if a training within has stopped."""
    try:
        yield
    finally:
        limit_requests(2, retries=0)
        with suppress(Exception):  # a store that is gone, whose next start does it
            store.close_stopped()


@contextmanager
def live_run(store: Store, training: Unfinished, origin: Origin, epoch_steps: int) -> Iterator["LiveRun"]:
    """The run of ``training``, which follows it; FAILED after an error.

    After a stop it is left as it is: ``Store.close_stopped`` sets it to KILLED once the training's lock is free.
    """
    with store_failures_in_one_line():
        run, known = store.begin(training.training.id, origin)
        logged, sampled = run.logged_steps(), run.sampled_steps()
    limit_requests(PATIENCE_S, retries=1)
    live = LiveRun(run, origin.record, epoch_steps, logged, sampled)
    monitor = SystemMetricsMonitor(run.id, sampling_interval=INTERVAL_S, resume_logging=known)
    monitor.start()
    try:
        with stops.kept():
            yield live
        live.finish(training)
    except Exception:
        with suppress(Exception):
            run.enter(State.FAILED)
        raise
    finally:
        ending = threading.Thread(target=monitor.finish, daemon=True)
        ending.start()
        live.stop()
        ending.join(1)


class LiveRun:
    """An observer that shows a training in its run, from a thread of its own, as far as the store takes it.

    What the store does not take now is offered again later; what it never takes, ``publish`` adds from the files.
    """

    def __init__(
        self, run: TrackedRun, record: Sequence[str], epoch_steps: int, logged_steps: int, sampled: Iterable[int]
    ) -> None:
        """The run has the curves up to step ``logged_steps`` and the sample grids at ``sampled`` already."""
        self.run = run
        self.record = record
        self.epoch_steps = epoch_steps
        self.logged_steps = logged_steps
        self.sampled = set(sampled)
        self.window = window_of(epoch_steps)
        self.rest = torch.empty(0, len(record))
        """Of the record up to step ``seen``, what has not filled a window yet."""
        self.seen = 0
        self.last_losses = time.time()
        self.points: list[Point] = []
        self.pictures: list[tuple[int, Image]] = []
        self.lost = False
        self.over = False
        self.due = threading.Event()
        self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self.thread.start()

    def stepped(self) -> None:
        """Steps are logged when their losses are known."""

    def losses(self, first: int, values: Tensor) -> None:
        """Show the record's ``values`` ``[n, R]`` of the n steps after step ``first``, made since the last call."""
        begun, self.seen = first - len(self.rest), first + len(values)
        values = torch.cat([self.rest, values])
        whole = len(values) // self.window * self.window
        self.rest = values[whole:].clone()
        self._show(window_means(begun, values[:whole], self.window))

    def _show(self, means: list[tuple[int, list[float]]]) -> None:
        """Points of the curves, made evenly since the last call."""
        now = time.time()
        times = np.linspace(self.last_losses * 1000, now * 1000, len(means) + 1).astype(int).tolist()[1:]
        self.last_losses = now
        self.points += [
            Point(step, values, made)
            for (step, values), made in zip(means, times, strict=True)
            if step > self.logged_steps
        ]

    def samples(self, step: int, images: Tensor) -> None:
        """Show the sample grid at ``step``."""
        if step not in self.sampled:
            # Drawn here: in the other thread torch would start as many threads again, and all wait for each other.
            self.pictures.append((step, grid(images, columns=5)))
        self.due.set()

    def finish(self, training: Unfinished) -> None:
        """Show what is left, and that ``training`` is over and waits to be published."""
        self._show(window_means(self.seen - len(self.rest), self.rest, self.window))
        self.stop()
        try:
            assert training.finish
            self.run.tag(training_tags(training.finish))
            self.run.enter(State.SCHEDULED)
        except Exception as error:
            self._report(error)

    def stop(self) -> None:
        """Offer what is left once more, for PATIENCE_S at most; a store that is lost is not waited for."""
        self.over = True
        self.due.set()
        self.thread.join(0 if self.lost else PATIENCE_S)

    def _work(self) -> None:
        while True:
            over = self.over
            failures = [self._offer(self._offer_points), self._offer(self._offer_pictures)]
            self._report(next(filter(None, failures), None))
            if over:
                return
            self.due.wait(INTERVAL_S)
            self.due.clear()

    def _offer(self, kind: Callable[[], None]) -> Exception | None:
        try:
            kind()
        except Exception as error:
            return error
        return None

    def _offer_points(self) -> None:
        points = self.points[:]
        self.run.log_losses(self.record, points, self.epoch_steps)
        del self.points[: len(points)]

    def _offer_pictures(self) -> None:
        while self.pictures:
            self.run.log_samples(*self.pictures[0])
            del self.pictures[0]

    def _report(self, failure: Exception | None) -> None:
        """Say that the store is lost, or that it is back, once each."""
        if failure and not self.lost:
            print(f"tracking lost, training goes on, the run is completed later: {reason(failure)}", file=sys.stderr)
        elif self.lost and not failure:
            print("tracking is back", file=sys.stderr)
        self.lost = failure is not None
