"""Train the selected variant."""

import sys
from pathlib import Path

from mnist_gan import config, pipeline, variants
from mnist_gan.data.mnist import digest, read_prepared
from mnist_gan.errors import run_as_program
from mnist_gan.files import write_csv, write_json
from mnist_gan.progress import progress
from mnist_gan.tracking.live import live_run
from mnist_gan.tracking.published import read_training
from mnist_gan.tracking.store import connect
from mnist_gan.training import generators, hardware, unfinished
from mnist_gan.training.engine import Engine
from mnist_gan.training.generators import Origin
from mnist_gan.training.trainer import Trainer, curve


def main() -> None:
    """Write models/generator, metrics/train.json and plots/losses.csv; log the run to MLflow."""
    params = config.load()
    shared = params.train
    options = variants.parse(shared.variant, params.variant)
    hardware.configure(shared.deterministic)
    store = connect()
    split = read_prepared("train")
    engine = Engine(shared, options, split.images)
    channels, height, width = split.images.shape[1:]
    origin = Origin(
        variant=shared.variant,
        image_shape=(channels, height, width),
        shared=shared.model_dump(),
        options=options.model_dump(),
        record=engine.variant.record,
        data_sha256=digest(split),
        environment=engine.hardware.environment,
    )
    inputs = pipeline.inputs("train", params) | {"data": origin.data_sha256, **origin.environment}
    with unfinished.exclusive(inputs) as mine:
        for message in unfinished.passed_over(inputs):
            say(message)
        start = mine.read()
        if start is None and shared.init_from:
            start = read_training(store, shared.init_from)
        done = int(start["steps"]) if start else 0
        say(opening(engine, origin, done))
        with (
            live_run(store, origin, engine.epoch_steps, mine.run_id) as run,
            progress(engine.total_steps, engine.epoch_steps, done) as shown,
        ):
            mine.run_id = run.run.id
            record = Trainer(shared, engine, origin, mine, [run, shown]).train(start)
            name = generators.content_hash()
            last_epoch = record[-engine.epoch_steps :].double().mean(dim=0).tolist()
            write_json(
                Path("metrics/train.json"),
                {"generator": name, "steps": len(record)}
                | {key: round(value, 6) for key, value in zip(origin.record, last_epoch, strict=True)},
            )
            write_csv(Path("plots/losses.csv"), ("step", *origin.record), curve(record))
            run.complete(name, len(record), mine.seconds)
        mine.remove()


def opening(engine: Engine, origin: Origin, done: int) -> str:
    """The line that a training begins with, ``done`` steps of it before."""
    here = origin.environment
    threads = f", {here['threads']} thread{'s' * (here['threads'] != '1')}" if engine.device.type == "cpu" else ""
    steps = f"{engine.total_steps:,} steps in {engine.options.epochs} epochs"
    going_on = f", going on after step {done:,}" if done else ""
    return (
        f"{origin.variant} on {here['device']}, {here['precision']} ({engine.hardware.reason}){threads}: "
        f"{steps}{going_on}"
    )


def say(message: str) -> None:
    """Print on stderr, in the order of the progress."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_as_program(main)
