"""The training loop: epochs, the loss record, samples, checkpoints."""

import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mnist_gan import images, result, unfinished
from mnist_gan.config import TrainConfig
from mnist_gan.engine import Engine, steps_per_epoch
from mnist_gan.errors import UserError
from mnist_gan.objective import RECORD
from mnist_gan.progress import progress
from mnist_gan.result import Origin
from mnist_gan.tracking import LiveRun
from mnist_gan.unfinished import Unfinished

SAMPLES = 25
"""Images in a sample grid, five by five."""


class Trainer:
    """One training: what it has made so far, and where that goes."""

    def __init__(
        self, options: TrainConfig, engine: Engine, origin: Origin, run: LiveRun, unfinished: Unfinished
    ) -> None:
        self.options = options
        self.engine = engine
        self.origin = origin
        self.run = run
        self.unfinished = unfinished
        self.latents = images.fixed_latents(SAMPLES, options.latent_dim)
        self.epoch_steps = steps_per_epoch(len(engine.images), options.batch_size)
        self.total_steps = options.epochs * self.epoch_steps
        self.step = 0
        self.losses = torch.empty(self.total_steps, len(RECORD))
        self.samples: dict[int, Tensor] = {}
        # What still lies on the device, and since when.
        self.records: list[Tensor] = []
        self.sampled: dict[int, Tensor] = {}
        self.collected = time.time()
        self.saved = time.monotonic()

    def train(self, start: Mapping[str, Tensor] | None) -> Tensor:
        """Train to the last epoch, leave the result in models/generator, log to the run on the way.

        Args:
            start: the state of an earlier training to go on from, to the same bits as if there had been no pause.

        Returns:
            RECORD's values of every step, float32 ``[steps, 4]``.

        Raises:
            UserError: a loss or a weight is not finite any more, and the last good checkpoint stays; or ``start``
                does not fit.
        """
        if start is None:
            self.sampled[0] = self.engine.sample(self.latents)
        else:
            self.restore(start)
        self.save()

        with progress(self.total_steps, self.options.epochs, self.step) as shown:
            while self.step < self.total_steps:
                epoch = self.step // self.epoch_steps + 1
                for record in self.engine.epoch():
                    self.step += 1
                    self.records.append(record)
                    shown.advance()
                    if self.engine.reads_freely:
                        shown.show(epoch, *record[:2].tolist())
                    if self.step == self.total_steps or samples_at(self.step, self.options.sample_interval):
                        self.sampled[self.step] = self.engine.sample(self.latents)
                    if self.step % self.epoch_steps and self.state_is_due():
                        self.save()
                self.collect()
                shown.show(epoch, *self.losses[self.step - 1, :2].tolist())
                if epoch == self.options.epochs or epoch % self.options.checkpoint_interval == 0:
                    self.checkpoint(epoch)
                if self.state_is_due():
                    self.save()

        end = replace(self.origin, epoch=self.options.epochs, step=self.total_steps)
        result.finish(self.unfinished.generator, self.engine.generator, end, self.state())
        return self.losses

    def collect(self) -> None:
        """Fetch what the last steps left on the device, and log it."""
        now = time.time()
        if self.records:
            first = self.step - len(self.records)
            losses = torch.stack(self.records).cpu()
            self.stop_unless_finite(losses, first)
            self.losses[first : self.step] = losses
            self.run.log_losses(first, losses, self.epoch_steps, self.collected, now)
        for step, samples in self.sampled.items():
            self.samples[step] = samples.cpu()
            self.run.log_samples(step, images.grid(self.samples[step], columns=5))
        self.records, self.sampled, self.collected = [], {}, now

    def checkpoint(self, epoch: int) -> None:
        """Write the generator after ``epoch``."""
        if not all(parameter.isfinite().all() for parameter in self.engine.generator.parameters()):
            raise UserError(self.diverged("a weight of the generator", self.step))
        path = result.checkpoint_path(epoch, self.unfinished.generator)
        result.write_generator(path, self.engine.generator, replace(self.origin, epoch=epoch, step=self.step))

    def state_is_due(self) -> bool:
        """Whether the last state is old enough."""
        return time.monotonic() - self.saved >= unfinished.INTERVAL_S

    def save(self) -> None:
        """Write all that the training needs to go on from here."""
        self.collect()
        self.unfinished.save(self.state(), self.run.run_id)
        self.saved = time.monotonic()

    def state(self) -> dict[str, Tensor]:
        """The engine's state, the losses and the samples."""
        return self.engine.state() | {
            "losses": self.losses[: self.step],
            "samples": torch.stack(list(self.samples.values())),
            "samples.steps": torch.tensor(list(self.samples)),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Be where the training was that had ``state``, and log what the run has not got."""
        self.step = len(state["losses"])
        try:
            self.engine.load(state)
        except (KeyError, RuntimeError):
            raise UserError(
                "train.init_from: names a training of another variant, latent_dim, image shape or device"
            ) from None
        if self.step > self.total_steps or self.engine.position != self.step % self.epoch_steps:
            raise UserError(
                f"train.init_from: names a training that ended at step {self.step}, which is beyond these "
                f"{self.options.epochs} epochs or no whole epoch of {self.epoch_steps} steps"
            )
        self.losses[: self.step] = state["losses"]
        taken = zip(state["samples.steps"].tolist(), state["samples"], strict=True)
        # A training that ended between two samples has one more than this one.
        self.samples = {
            step: samples
            for step, samples in taken
            if step == self.total_steps or samples_at(step, self.options.sample_interval)
        }
        self.run.log_losses(0, self.losses[: self.step], self.epoch_steps, self.collected, self.collected)
        for step, samples in self.samples.items():
            self.run.log_samples(step, images.grid(samples, columns=5))

    def stop_unless_finite(self, losses: Tensor, first: int) -> None:
        """Raise a UserError that names the first step whose record ``[4]`` is not finite; rows follow ``first``."""
        bad = ~losses.isfinite()
        if bad.any():
            row, column = bad.nonzero()[0].tolist()
            raise UserError(self.diverged(RECORD[column], first + row + 1))

    def diverged(self, what: str, step: int) -> str:
        """The message for a training that left the numbers."""
        epoch = (step - 1) // self.epoch_steps + 1
        kept = result.checkpoint_paths(self.unfinished.generator)
        last = f"last good checkpoint: {kept[-1]}" if kept else "no checkpoint was written before"
        return f"{what} is not finite at step {step}, epoch {epoch}; lower train.lr or take float32; {last}"


def samples_at(step: int, interval: int) -> bool:
    """Whether a sample grid is due after ``step``: at multiples of ``interval``, four in each doubling.

    The first seven multiples, then every second, every fourth and so on: a generator changes most at first. The
    schedule does not look at the number of epochs, so that runs of any length have their steps in common.
    """
    multiple, rest = divmod(step, interval)
    return rest == 0 and multiple % (1 << max(0, multiple.bit_length() - 3)) == 0


def curve(losses: Tensor, rows: int = 500) -> list[tuple[float, ...]]:
    """The loss record ``[steps, 4]`` as at most ``rows`` means over equal windows, each after its last step."""
    windows = losses.double().split(-(-len(losses) // rows))
    ends = torch.tensor([len(window) for window in windows]).cumsum(0).tolist()
    return [(end, *window.mean(dim=0).tolist()) for end, window in zip(ends, windows, strict=True)]
