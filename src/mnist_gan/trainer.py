"""The training loop: epochs, the loss record, samples, checkpoints."""

import time
from dataclasses import replace

import torch
from torch import Tensor

from mnist_gan import images, result
from mnist_gan.config import TrainConfig
from mnist_gan.engine import Engine, steps_per_epoch
from mnist_gan.errors import UserError
from mnist_gan.objective import RECORD
from mnist_gan.progress import progress
from mnist_gan.result import Origin
from mnist_gan.tracking import LiveRun

SAMPLES = 25
"""Images in a sample grid, five by five."""


def train(options: TrainConfig, engine: Engine, origin: Origin, run: LiveRun) -> Tensor:
    """Train for ``options.epochs``, leave the result in models/generator, log to ``run`` on the way.

    Returns:
        RECORD's values of every step, float32 ``[steps, 4]``.

    Raises:
        UserError: a loss or a weight is not finite any more; the last good checkpoint stays.
    """
    latents = images.fixed_latents(SAMPLES, options.latent_dim)
    epoch_steps = steps_per_epoch(len(engine.images), options.batch_size)
    total_steps = options.epochs * epoch_steps
    losses = torch.empty(total_steps, len(RECORD))
    samples: dict[int, Tensor] = {}

    def sample(step: int) -> None:
        samples[step] = engine.sample(latents)
        run.log_samples(step, images.grid(samples[step], columns=5))

    sample(0)
    step = 0
    with progress(total_steps, options.epochs) as shown:
        for epoch in range(1, options.epochs + 1):
            first, started = step, time.time()
            records = []
            for record in engine.epoch():
                step += 1
                records.append(record)
                shown.advance()
                if engine.reads_freely:
                    shown.show(epoch, *record[:2].tolist())
                if step == total_steps or samples_at(step, options.sample_interval):
                    sample(step)
            losses[first:step] = torch.stack(records).cpu()
            stop_unless_finite(losses[first:step], first, epoch)
            shown.show(epoch, *losses[step - 1, :2].tolist())
            run.log_losses(first, losses[first:step], epoch_steps, started, time.time())

            if epoch == options.epochs or epoch % options.checkpoint_interval == 0:
                if not all(parameter.isfinite().all() for parameter in engine.generator.parameters()):
                    raise UserError(diverged("a weight of the generator", step, epoch))
                here = replace(origin, epoch=epoch, step=step)
                result.write_generator(result.checkpoint_path(epoch), engine.generator, here)

    result.write_generator(result.FINAL, engine.generator, here)
    result.write_losses(losses)
    result.write_samples(samples)
    return losses


def samples_at(step: int, interval: int) -> bool:
    """Whether a sample grid is due after ``step``: at multiples of ``interval``, four in each doubling.

    The first seven multiples, then every second, every fourth and so on: a generator changes most at first. The
    schedule does not look at the number of epochs, so that runs of any length have their steps in common.
    """
    multiple, rest = divmod(step, interval)
    return rest == 0 and multiple % (1 << max(0, multiple.bit_length() - 3)) == 0


def stop_unless_finite(losses: Tensor, first: int, epoch: int) -> None:
    """Raise a UserError that names the first step whose record ``[4]`` is not finite; rows follow step ``first``."""
    bad = ~losses.isfinite()
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        raise UserError(diverged(RECORD[column], first + row + 1, epoch))


def diverged(what: str, step: int, epoch: int) -> str:
    """The message for a training that left the numbers."""
    kept = sorted(path.name for path in result.CHECKPOINTS.glob("epoch-*"))
    last = f"last good checkpoint: {result.CHECKPOINTS / kept[-1]}" if kept else "no checkpoint was written before"
    return f"{what} is not finite at step {step}, epoch {epoch}; lower train.lr or take float32; {last}"


def curve(losses: Tensor, rows: int = 500) -> list[tuple[float, ...]]:
    """The loss record ``[steps, 4]`` as at most ``rows`` means over equal windows, each after its last step."""
    windows = losses.double().split(-(-len(losses) // rows))
    ends = torch.tensor([len(window) for window in windows]).cumsum(0).tolist()
    return [(end, *window.mean(dim=0).tolist()) for end, window in zip(ends, windows, strict=True)]
