"""Time to quality: in how many seconds of training a generator gets as near to MNIST as a given Fréchet distance.

The unit is T, the time of ten epochs of the article's DCGAN by this engine, measured before and after every other
training: what the machine does beside them meets both. A training is what ``dvc repro train`` computes, without
tracking; measured is what ``evaluate`` would report of its end, by the five judges and by the autoencoder. Real images
have 0.12.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from mnist_gan import config, variants
from mnist_gan.data.images import generate
from mnist_gan.data.prepared import Split, read_prepared
from mnist_gan.quality import ruler
from mnist_gan.quality.guards import SPACES
from mnist_gan.quality.panel import class_shares
from mnist_gan.quality.ruler import CHOOSING
from mnist_gan.quality.sight import Eyes
from mnist_gan.stages.evaluate import seeded_latents
from mnist_gan.training import hardware
from mnist_gan.training.engine import Engine

DCGAN_STEPS = 10 * 235
"""Of ten epochs with batches of 256."""
AIMS = {5.5: 100, 2.0: 80, 1.0: 45, 0.6: 30, 0.35: 12, 0.21: 8}
"""By distance, the part of T that it is to take at most: one over this."""
SETTINGS: dict[float, dict[str, Any]] = {
    5.5: {"width": 12, "batch_size": 192, "lr": 0.008, "epochs": 1},
    2.0: {"width": 16, "batch_size": 160, "lr": 0.008, "epochs": 1},
    1.0: {"width": 16, "batch_size": 64, "lr": 0.006, "epochs": 1},
    0.6: {"width": 24, "batch_size": 64, "lr": 0.005, "epochs": 1},
    0.35: {"width": 24, "batch_size": 64, "lr": 0.003, "epochs": 2},
    0.21: {"width": 24, "ratio": 1.33, "batch_size": 80, "lr": 0.0035, "gamma": 0.5, "moments": 0.1, "epochs": 5},
}
"""Of ``cr3gan``, by distance."""
COMMON = {"ratio": 1.0, "gamma": 0.6, "moments": 0.0}
"""What they have in common where they do not say otherwise; the rest is as in params.yaml."""
COLUMNS = ("distance", "settings", "training (s)", "parts of T", "aim", "judges", "autoencoder", "variety",
           "digits' shares off by", "copies", "n")  # fmt: skip


class Trained(NamedTuple):
    """A training: how long it took, and how near it came."""

    seconds: float
    judge: float
    """Fréchet distance, as the next."""
    autoencoder: float
    variety: float
    """Recall and coverage in both kinds of space as parts of what real images have: the least of the four."""
    shares: float
    """How far a digit's share is from that of the test images, as a part of it: the most of the ten."""
    copies: float
    """The part of images that are too near to a training image: the more of the two kinds of space."""


def engine_of(name: str, options: Mapping[str, Any], seed: int, split: Split) -> Engine:
    """An engine for the variant ``name``."""
    params = config.load()
    shared = params.train.model_copy(update={"variant": name, "seed": seed})
    return Engine(shared, variants.parse(name, params.variants[name] | dict(options)), split)


def dcgan_step(split: Split, steps: int) -> float:
    """Seconds of a step of the article's DCGAN, the median of so many after three."""
    seconds, engine = [], engine_of("dcgan", {}, 0, split)
    for _, _ in zip(range(steps + 3), engine.epoch(), strict=False):
        if engine.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter())
    return statistics.median(after - before for before, after in itertools.pairwise(seconds[2:]))


def train(options: Mapping[str, Any], seed: int, split: Split) -> Trained:
    """Train and measure."""
    engine = engine_of("cr3gan", COMMON | dict(options), seed, split)
    started = time.perf_counter()
    while engine.steps < engine.total_steps:
        records = torch.stack(list(engine.epoch())).cpu()
        assert records.isfinite().all()
    seconds = time.perf_counter() - started

    evaluate, real = config.load().evaluate, ruler.read()
    generator = engine.variant.drawn.eval().cpu()
    latents = seeded_latents(CHOOSING + evaluate.samples, engine.variant.latent_dim, evaluate.seed)[CHOOSING:]
    look, images = Eyes(), generate(generator, latents)
    measured = real.compare(look(images[: real.samples]), real.nearest(look, images))
    spaces = {space: measured[space] for space in SPACES}
    judge, autoencoder = (found["frechet_distance"].value for found in spaces.values())
    kinds = itertools.product(SPACES, ("recall", "coverage"))
    variety = [measured[space][name].value / real.floor[space][name] for space, name in kinds]
    wanted = class_shares(real.probabilities, real.test.classes.names)
    shares = [abs(share.value / wanted[digit].value - 1) for digit, share in measured["classes"].items()]
    copies = max(found["copies"].value for found in spaces.values())
    return Trained(seconds, judge, autoencoder, min(variety), max(shares), copies)


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default 0 to 4")
    parser.add_argument("--distances", type=float, nargs="+", default=list(AIMS), help="default all")
    parser.add_argument("--steps", type=int, default=10, help="steps of DCGAN that T is measured on each time")
    arguments = parser.parse_args()
    hardware.configure(config.load().train.deterministic)
    split = read_prepared("train")
    here = hardware.choose(config.load().train.device, config.load().train.precision)
    print(f"torch {torch.__version__}, {', '.join(f'{key} {value}' for key, value in here.environment.items())}\n")
    print(f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|")
    steps = []
    for distance in arguments.distances:
        trained, parts = [], []
        for seed in arguments.seeds:
            around = [dcgan_step(split, arguments.steps)]
            trained.append(train(SETTINGS[distance], seed, split))
            around.append(dcgan_step(split, arguments.steps))
            steps += around
            parts.append(statistics.mean(around) * DCGAN_STEPS / trained[-1].seconds)
        said = ", ".join(f"{key} {value}" for key, value in SETTINGS[distance].items())
        seconds, *quality = (spread(list(values)) for values in zip(*trained, strict=True))
        row = (f"{distance:g}", said, seconds, f"T/{spread(parts)}", f"T/{AIMS[distance]}", *quality, str(len(trained)))
        print(f"| {' | '.join(row)} |", flush=True)
    print(f"\nT = {statistics.median(steps) * DCGAN_STEPS:.0f} s, from {len(steps)} blocks of steps.")


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    main()
