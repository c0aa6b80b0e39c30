"""Train the selected variant."""

from pathlib import Path

from mnist_gan import config, tracking
from mnist_gan.data import digest, read_prepared
from mnist_gan.engine import Engine, environment, steps_per_epoch
from mnist_gan.errors import run_stage
from mnist_gan.files import write_csv, write_json
from mnist_gan.objective import RECORD
from mnist_gan.result import Origin, content_hash
from mnist_gan.trainer import Trainer, curve
from mnist_gan.unfinished import claim


def main() -> None:
    """Write models/generator, metrics/train.json and plots/losses.csv; log the run to MLflow."""
    options = config.load().train
    store = tracking.connect()
    split = read_prepared("train")
    engine = Engine(options, split.images)
    channels, height, width = split.images.shape[1:]
    origin = Origin(
        variant=options.variant,
        latent_dim=options.latent_dim,
        image_shape=(channels, height, width),
        epoch=0,
        step=0,
        train=options.model_dump(),
        data_sha256=digest(split),
        environment=environment(engine.device, engine.precision),
    )
    with claim(origin) as unfinished:
        start = unfinished.read()
        if start is None and options.init_from:
            start = tracking.read_training(store, options.init_from)
        with tracking.live_run(store, origin, unfinished.run_id()) as run:
            losses = Trainer(options, engine, origin, run, unfinished).train(start)
            last_epoch = losses[-steps_per_epoch(len(split.images), options.batch_size) :].double().mean(dim=0)
            name = content_hash()
            write_json(
                Path("metrics/train.json"),
                {"generator": name, "steps": len(losses)}
                | {key: round(value, 6) for key, value in zip(RECORD, last_epoch.tolist(), strict=True)},
            )
            write_csv(Path("plots/losses.csv"), ("step", *RECORD), curve(losses))
            run.complete(name)
        unfinished.remove()


if __name__ == "__main__":
    run_stage(main)
