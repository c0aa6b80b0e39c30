"""The training loop: epochs, the record of every step, samples, checkpoints."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from mnist_gan.config import TrainConfig
from mnist_gan.data.images import fixed_latents
from mnist_gan.errors import UserError
from mnist_gan.training import generators, unfinished
from mnist_gan.training.engine import Engine
from mnist_gan.training.generators import Checkpoint, Origin
from mnist_gan.training.unfinished import Unfinished

SAMPLES = 25
"""Images in a sample grid, five by five."""
COLLECT_S = 5
"""Seconds between two looks at what the device has computed: how fresh observers are."""


class Observer(Protocol):
    """Follows a training, for progress or tracking. Nothing that it does changes the result."""

    def stepped(self) -> None:
        """One more step was given to the device."""

    def losses(self, first: int, values: Tensor) -> None:
        """The record's ``values`` ``[n, R]`` of the n steps after step ``first``, on the CPU."""

    def samples(self, step: int, images: Tensor) -> None:
        """What the generator draws after ``step`` from the fixed latent vectors: uint8 ``[N, C, H, W]``."""


class Trainer:
    """One training: what it has made so far, and where that goes."""

    def __init__(
        self,
        shared: TrainConfig,
        engine: Engine,
        origin: Origin,
        unfinished: Unfinished,
        observers: Sequence[Observer],
    ) -> None:
        self.shared = shared
        self.engine = engine
        self.origin = origin
        self.unfinished = unfinished
        self.observers = observers
        self.latents = fixed_latents(SAMPLES, shared.latent_dim)
        self.record = torch.empty(engine.total_steps, len(origin.record))
        self.samples: dict[int, Tensor] = {}
        # What still lies on the device, and since when.
        self.records: list[Tensor] = []
        self.sampled: dict[int, Tensor] = {}
        self.collected = self.saved = time.monotonic()

    def train(self, start: Mapping[str, Tensor] | None) -> None:
        """Train to the last epoch; the folder of the training then holds the whole result.

        Args:
            start: the state of an earlier training to go on from, to the same bits as if there had been no pause.

        Raises:
            UserError: a value of the record or a weight is not finite any more, and the last good checkpoint stays;
                or ``start`` does not fit.
        """
        engine = self.engine
        if start is None:
            self.sampled[0] = engine.sample(self.latents)
        else:
            self.restore(start)
        self.save()

        while engine.steps < engine.total_steps:
            for record in engine.epoch():
                self.records.append(record)
                for observer in self.observers:
                    observer.stepped()
                if engine.steps == engine.total_steps or samples_at(engine.steps, self.shared.sample_interval):
                    self.sampled[engine.steps] = engine.sample(self.latents)
                if engine.steps % engine.epoch_steps:
                    self.look_after()
            epoch = engine.steps // engine.epoch_steps
            self.collect()
            if checkpoint_at(epoch, engine.options.epochs, self.shared.checkpoints):
                self.checkpoint(epoch)
            self.look_after()

        final = Checkpoint(engine.variant.drawn, self.origin, epoch=self.epoch(engine.steps), step=engine.steps)
        self.unfinished.end(generators.finish(self.unfinished.generator, final, self.state()))

    def look_after(self) -> None:
        """Write the state or show the losses, if either is due."""
        now = time.monotonic()
        if now - self.saved >= unfinished.INTERVAL_S:
            self.save()
        elif now - self.collected >= COLLECT_S:
            self.collect()

    def collect(self) -> None:
        """Fetch what the last steps left on the device, and show it."""
        self.collected = time.monotonic()
        if self.records:
            first = self.engine.steps - len(self.records)
            values = torch.stack(self.records).cpu()
            self.stop_unless_finite(values, first)
            self.record[first : self.engine.steps] = values
            self.show_losses(first, values)
        for step, samples in self.sampled.items():
            self.samples[step] = samples.cpu()
            self.show_samples(step)
        self.records, self.sampled = [], {}

    def show_losses(self, first: int, values: Tensor) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer.losses(first, values)

    def show_samples(self, step: int) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer.samples(step, self.samples[step])

    def checkpoint(self, epoch: int) -> None:
        """Write the generator after ``epoch``."""
        generator = self.engine.variant.drawn
        if not all(parameter.isfinite().all() for parameter in generator.parameters()):
            raise UserError(self.diverged("a weight of the generator", self.engine.steps))
        path = generators.checkpoint_path(epoch, self.unfinished.generator)
        generators.write(path, Checkpoint(generator, self.origin, epoch, self.engine.steps))

    def save(self) -> None:
        """Write all that the training needs to go on from here."""
        self.collect()
        self.unfinished.save(self.state())
        self.saved = time.monotonic()

    def state(self) -> dict[str, Tensor]:
        """The engine's state, the record and the samples."""
        return self.engine.state() | {
            "losses": self.record[: self.engine.steps],
            "samples": torch.stack(list(self.samples.values())),
            "samples.steps": torch.tensor(list(self.samples)),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Be where the training was that had ``state``, and show what it had."""
        engine = self.engine
        try:
            engine.load(state)
        except RuntimeError:
            raise UserError("train.init_from: is a training on another kind of device, or of other classes") from None
        if engine.steps:
            self.record[: engine.steps] = state["losses"]
            self.show_losses(0, state["losses"])
        for step, samples in generators.samples_of(state).items():
            # A training that ended between two samples has one more than this one.
            if step == engine.total_steps or samples_at(step, self.shared.sample_interval):
                self.samples[step] = samples
                self.show_samples(step)

    def stop_unless_finite(self, values: Tensor, first: int) -> None:
        """Raise a UserError that names the first step whose record ``[R]`` is not finite; rows follow ``first``."""
        bad = ~values.isfinite()
        if bad.any():
            row, column = bad.nonzero()[0].tolist()
            raise UserError(self.diverged(self.origin.record[column], first + row + 1))

    def diverged(self, what: str, step: int) -> str:
        """The message for a training that left the numbers."""
        kept = generators.checkpoint_paths(self.unfinished.generator)
        last = f"last good checkpoint: {kept[-1]}" if kept else "no checkpoint was written before"
        lower = f"lower variants.{self.shared.variant}.lr or take float32"
        return f"{what} is not finite at step {step}, epoch {self.epoch(step)}; {lower}; {last}"

    def epoch(self, step: int) -> int:
        """The epoch that ``step`` belongs to, both counted from 1."""
        return (step - 1) // self.engine.epoch_steps + 1


def samples_at(step: int, interval: int) -> bool:
    """Whether a sample grid is due after ``step``: at multiples of ``interval``, four in each doubling.

    The first seven multiples, then every second, every fourth and so on: a generator changes most at first. The
    schedule does not look at the number of epochs, so that runs of any length have their steps in common.
    """
    multiple, rest = divmod(step, interval)
    return rest == 0 and multiple % (1 << max(0, multiple.bit_length() - 3)) == 0


def checkpoint_at(epoch: int, epochs: int, count: int) -> bool:
    """Whether a checkpoint is due after ``epoch``: ``count`` are spread evenly over a training of ``epochs``.

    The last epoch has one, and of fewer epochs each.
    """
    return epoch * count // epochs > (epoch - 1) * count // epochs


def curve(record: Tensor, rows: int = 500) -> list[tuple[float, ...]]:
    """The record ``[steps, R]`` as at most ``rows`` means over equal windows, each after its last step."""
    windows = record.double().split(-(-len(record) // rows))
    ends = torch.tensor([len(window) for window in windows]).cumsum(0).tolist()
    return [(end, *window.mean(dim=0).tolist()) for end, window in zip(ends, windows, strict=True)]
