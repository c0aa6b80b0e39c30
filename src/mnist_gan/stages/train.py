"""Train the selected variant."""

import sys
from pathlib import Path

import torch

from mnist_gan import config, pipeline, variants
from mnist_gan.data.prepared import digest, read_prepared
from mnist_gan.files import sha256, write_csv, write_json
from mnist_gan.report.progress import progress
from mnist_gan.tracking.live import live_run, stopped_runs_closed
from mnist_gan.tracking.store import connect
from mnist_gan.training import generators, hardware, starts, unfinished
from mnist_gan.training.engine import Engine
from mnist_gan.training.generators import Origin
from mnist_gan.training.trainer import Trainer, curve
from mnist_gan.training.unfinished import Unfinished

USUAL_STEPS = 3750
"""Of the default on MNIST."""
BY_HEART = 1000
"""Training images of which fewer are learned by heart: docs/own-images.md."""


def main() -> None:
    """Write models/generator, metrics/train.json and plots/losses.csv; log the run to MLflow."""
    with hardware.memory_named():
        train()


def train() -> None:
    """Train, or take up what was trained."""
    params = config.load()
    shared = params.train
    options = variants.parse(shared.variant, params.variant)
    hardware.configure(shared.deterministic, shared.threads)
    store = connect()
    split = read_prepared("train")
    engine = Engine(shared, options, split)
    channels, height, width = split.images.shape[1:]
    origin = Origin(
        variant=shared.variant,
        image_shape=(channels, height, width),
        shared=shared.model_dump(),
        options=options.model_dump(),
        record=engine.variant.record,
        data_sha256=digest(split),
        environment=engine.hardware.environment,
        classes=split.classes,
    )
    inputs = pipeline.inputs("train", params) | {"data": origin.data_sha256, **origin.environment}
    start_file = starts.checked(params)
    if start_file:
        inputs["start"] = sha256(start_file.read_bytes())
    with stopped_runs_closed(store), unfinished.exclusive(inputs) as mine:
        for message in unfinished.passed_over(inputs):
            say(message)
        if mine.finish:
            say(f"{origin.variant} is trained already: the result that waits in {mine.generator} is taken")
        else:
            start = mine.read() or (generators.read_training(start_file) if start_file else None)
            done = int(start["steps"]) if start else 0
            say(opening(engine, origin, done))
            with (
                live_run(store, mine, origin, engine.epoch_steps) as run,
                progress(engine.total_steps, engine.epoch_steps, done) as shown,
            ):
                Trainer(shared, engine, origin, mine, [run, shown]).train(start)
        leave(mine, origin, engine.epoch_steps)


def leave(mine: Unfinished, origin: Origin, epoch_steps: int) -> None:
    """Put a finished training's result where DVC expects it."""
    assert mine.finish
    generators.put_in_place(mine.generator)
    record = generators.read_training()["losses"]
    last_epoch = record[-epoch_steps:].double().mean(dim=0).tolist()
    write_json(
        Path("metrics/train.json"),
        {"generator": mine.finish.generator, "steps": len(record)}
        | {key: round(value, 6) for key, value in zip(origin.record, last_epoch, strict=True)},
    )
    write_csv(Path("plots/losses.csv"), ("step", *origin.record), curve(record))


def opening(engine: Engine, origin: Origin, done: int) -> str:
    """The line that a training begins with, ``done`` steps of it before."""
    here = origin.environment
    if engine.device.type == "cpu":
        which = f", {here['threads']} thread{'s' * (here['threads'] != '1')}"
    else:
        count = torch.cuda.device_count()
        which = f", the first of {count} GPUs; CUDA_VISIBLE_DEVICES=1 takes the second" if count > 1 else ""
    steps = f"{engine.total_steps:,} steps in {engine.options.epochs} epochs"
    going_on = f", going on after step {done:,}" if done else ""
    epochs = -(-USUAL_STEPS // engine.epoch_steps)
    few = f"; that is few: {epochs} epochs make {USUAL_STEPS:,}" if engine.total_steps < USUAL_STEPS / 2 else ""
    known = len(engine.images) < BY_HEART and origin.options.get("augment") is False
    by_heart = (
        f"; so few images are learned by heart, less with variants.{origin.variant}.augment: true" if known else ""
    )
    return (
        f"{origin.variant} on {here['device']}, {here['precision']} ({engine.hardware.reason}){which}: "
        f"{steps}{going_on}{few}{by_heart}"
    )


def say(message: str) -> None:
    """Print on stderr, in the order of the progress."""
    print(message, file=sys.stderr, flush=True)
