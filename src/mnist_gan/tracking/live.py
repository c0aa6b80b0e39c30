"""A run that follows a training while it goes on."""

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from mlflow.entities import RunStatus
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from torch import Tensor

from mnist_gan.data.images import grid
from mnist_gan.tracking.run import CONTENT_TAG, TrackedRun, window_means, window_of
from mnist_gan.tracking.store import Store, this_process
from mnist_gan.training.generators import Origin


@contextmanager
def live_run(store: Store, origin: Origin, epoch_steps: int, run_id: str = "") -> Iterator["LiveRun"]:
    """A run that follows a training and ends FINISHED, KILLED (SIGINT, SIGTERM) or FAILED (any exception).

    The run with ``run_id`` goes on if the store has it, otherwise a new one begins.
    """
    known = store.run(run_id) if run_id else None
    if known:
        known.begin_again(this_process())
        logged = int(known.history("epoch")[0].max(initial=0)), known.sampled_steps()
    else:
        logged = 0, set[int]()
    run = known or store.create_run(origin, {})
    live = LiveRun(store, run, origin.record, epoch_steps, *logged)
    monitor = SystemMetricsMonitor(run.id, sampling_interval=5, resume_logging=known is not None)
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
        live.put(lambda: run.end(status))
        live.close()


class LiveRun:
    """An observer that logs from a thread of its own; what the run has already is not logged again.

    When the store fails, the training goes on untracked and ``publish`` recreates the run from the files.
    """

    def __init__(
        self,
        store: Store,
        run: TrackedRun,
        record: Sequence[str],
        epoch_steps: int,
        logged_steps: int,
        logged_samples: Iterable[int],
    ) -> None:
        """The run has the losses of the first ``logged_steps`` and the sample grids at ``logged_samples``."""
        self.store = store
        self.run = run
        self.record = record
        self.epoch_steps = epoch_steps
        self.logged_steps = logged_steps
        self.logged_samples = set(logged_samples)
        self.last_losses = time.time()
        self.window = window_of(epoch_steps)
        self.rest = torch.empty(0, len(record))
        """Of the record, what has not filled a window yet."""
        self.jobs: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="tracking")
        self.thread.start()

    def put(self, job: Callable[[], Any]) -> None:
        """Queue a call to the store."""
        self.jobs.put(job)

    def stepped(self) -> None:
        """Steps are logged when their losses are known."""

    def losses(self, first: int, values: Tensor) -> None:
        """Log the record's ``values`` ``[n, R]`` of the n steps after step ``first``, made since the last call."""
        begun = first - len(self.rest)
        values = torch.cat([self.rest, values])
        whole = len(values) // self.window * self.window
        self.rest = values[whole:].clone()
        self._log(window_means(begun, values[:whole], self.window))

    def _log(self, points: list[tuple[int, list[float]]]) -> None:
        """Log points of the curves, made evenly since the last call, but for those that the run has already."""
        now = time.time()
        times = np.linspace(self.last_losses * 1000, now * 1000, len(points) + 1).astype(int).tolist()[1:]
        self.last_losses = now
        new = [index for index, (step, _) in enumerate(points) if step > self.logged_steps]
        if new:
            points, times = [points[index] for index in new], [times[index] for index in new]
            self.put(lambda: self.run.log_losses(self.record, points, self.epoch_steps, times))

    def samples(self, step: int, images: Tensor) -> None:
        """Log the sample grid at ``step``."""
        if step not in self.logged_samples:
            # Here and not in the other thread, where torch would start as many threads again to wait for each other.
            picture = grid(images, columns=5)
            self.put(lambda: self.run.log_samples(step, picture))

    def complete(self, content_hash: str, steps: int, seconds: float) -> None:
        """Name the run by its result, which took ``steps`` and ``seconds`` of training.

        A result that another run has already is tagged as its reproduction.
        """
        if len(self.rest):
            self._log(window_means(steps - len(self.rest), self.rest, self.window))

        def name() -> None:
            original = self.store.find(content_hash)
            reproduces = {"reproduces": original.id} if original else {}
            self.run.tag({CONTENT_TAG: content_hash, "training.seconds": f"{seconds:.0f}"} | reproduces)

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
