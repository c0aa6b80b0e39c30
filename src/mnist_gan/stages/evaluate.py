"""Measure the quality of every checkpoint: the best is chosen on one set of real images and judged on another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist_gan import autoencoder, config, images, judge, panel, quality, result
from mnist_gan.data import read_prepared
from mnist_gan.engine import keep_memory
from mnist_gan.errors import run_stage
from mnist_gan.files import write_atomically, write_csv, write_json
from mnist_gan.panel import Estimate, Space, intervals, values

SPACES = ("judge", "autoencoder")
NEAREST = 20
"""Samples in the picture of nearest training images."""


def main() -> None:
    """Write metrics/evaluate.json, plots/quality.csv and plots/nearest.png.

    The validation images, which choose the best checkpoint, are the last training images, as many as test images.
    Everything in metrics/evaluate.json is measured against the test images.
    """
    options = config.load().evaluate
    keep_memory()
    observer = Observer()
    training, test = read_prepared("train"), read_prepared("test")
    seen, unseen = observer(training.images), observer(test.images)
    validation = seen[-len(test.images) :]
    chooser = validation.features["judge"], quality.neighbour_distances(validation.features["judge"], 5)

    rows: list[tuple[float, ...]] = []
    best = None
    for generator, origin in result.checkpoints():
        latents = seeded_latents(options.samples, origin.latent_dim, options.seed)
        pictures = images.generate(generator, latents)
        last = observer(pictures)
        measured = against_validation(last.features["judge"], *chooser)
        rows.append((origin.epoch, origin.step, *measured.values()))
        if best is None or measured["frechet_distance"] < best[1]:
            best = origin.epoch, measured["frechet_distance"], last
        print(f"epoch {origin.epoch}: Fréchet distance {measured['frechet_distance']:.2f}", flush=True)
    assert best is not None

    spaces = {name: Space.of(unseen.features[name], seen.features[name]) for name in SPACES}
    # The floor's images must not be among those that they could be copies of.
    others = seen[: -len(test.images)]
    apart = {name: Space.of(unseen.features[name], others.features[name]) for name in SPACES}
    write_csv(Path("plots/quality.csv"), ("epoch", "step", *measured), rows)
    write_json(
        Path("metrics/evaluate.json"),
        {"samples": options.samples}
        | report(last, unseen, spaces)
        | {"floor": report(validation, unseen, apart)}
        | {"best": {"epoch": best[0]} | distances(best[2], spaces)},
    )
    nearest = [quality.nearest(last.features[name][:NEAREST], seen.features[name])[1] for name in SPACES]
    shown = torch.cat([pictures[:NEAREST], *(training.images[indices] for indices in nearest)])
    write_atomically(Path("plots/nearest.png"), images.png(images.grid(shown, NEAREST)))


@dataclass(frozen=True)
class Observed:
    """N images as the frozen networks see them."""

    features: dict[str, Tensor]
    """By space, float32 ``[N, D]``."""
    probabilities: Tensor
    """Of the classes, by the judge: ``[N, 10]``."""

    def __getitem__(self, rows: slice) -> "Observed":
        return Observed({name: rows_of[rows] for name, rows_of in self.features.items()}, self.probabilities[rows])


class Observer:
    """Both frozen networks."""

    def __init__(self) -> None:
        self.judge = judge.read()
        self.autoencoder = autoencoder.read()

    def __call__(self, images: Tensor) -> Observed:
        """What they see in uint8 images ``[N, C, H, W]``."""
        opinion = judge.opinion(self.judge, images)
        code = autoencoder.features(self.autoencoder, images)
        return Observed({"judge": opinion.features, "autoencoder": code}, opinion.probabilities)


def against_validation(features: Tensor, reference: Tensor, neighbours: Tensor) -> dict[str, float]:
    """The measures that are followed through the training."""
    near = quality.neighbourhoods(features[: len(reference)], reference, neighbours)
    return {
        "frechet_distance": quality.frechet_distance(features, reference).item(),
        "precision": quality.average(near.precise).item(),
        "recall": quality.average(near.recalled).item(),
    }


def report(observed: Observed, unseen: Observed, spaces: dict[str, Space]) -> dict[str, Any]:
    """All measures in both spaces, the part of each digit, and their intervals."""
    measured = {name: panel.measures(observed.features[name], spaces[name]) for name in SPACES}
    measured["judge"] |= panel.by_class(observed.probabilities, unseen.probabilities)
    return tabulate(measured | {"digits": panel.class_shares(observed.probabilities)})


def distances(observed: Observed, spaces: dict[str, Space]) -> dict[str, Any]:
    """The distances in both spaces and their intervals."""
    return tabulate({name: panel.distances(observed.features[name], spaces[name]) for name in SPACES})


def tabulate(measured: dict[str, dict[str, Estimate]]) -> dict[str, Any]:
    """Values by group of measures, and intervals by group."""
    return {name: values(group) for name, group in measured.items()} | {
        "interval": {name: intervals(group) for name, group in measured.items()}
    }


def seeded_latents(count: int, latent_dim: int, seed: int) -> Tensor:
    """Standard normal ``[count, latent_dim]``, the same for every checkpoint."""
    return torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(seed))


if __name__ == "__main__":
    run_stage(main)
