"""Measure the quality of every checkpoint: the best is chosen on one set of real images and judged on another."""

from pathlib import Path

import torch
from torch import Tensor

from mnist_gan import config
from mnist_gan.data import images
from mnist_gan.data.mnist import read_prepared
from mnist_gan.errors import run_as_program
from mnist_gan.files import write_atomically, write_csv, write_json
from mnist_gan.quality import measures, sight
from mnist_gan.training import generators, hardware

NEAREST = 20
"""Samples in the picture of nearest training images."""


def main() -> None:
    """Write metrics/evaluate.json, plots/quality.csv and plots/nearest.png.

    The validation images, which choose the best checkpoint, are the last training images, as many as test images.
    Everything in metrics/evaluate.json is measured against the test images.
    """
    options = config.load().evaluate
    hardware.configure()
    look = sight.Eyes()
    training, test = read_prepared("train"), read_prepared("test")
    seen, unseen = look(training.images), look(test.images)
    validation = seen[-len(test.images) :]
    chooser = validation.features["judge"], measures.neighbour_distances(validation.features["judge"], 5)

    rows: list[tuple[float, ...]] = []
    best = None
    for checkpoint in generators.checkpoints():
        latents = seeded_latents(options.samples, checkpoint.origin.latent_dim, options.seed)
        pictures = images.generate(checkpoint.generator, latents)
        last = look(pictures)
        measured = sight.against_validation(last.features["judge"], *chooser)
        rows.append((checkpoint.epoch, checkpoint.step, *measured.values()))
        if best is None or measured["frechet_distance"] < best[1]:
            best = checkpoint.epoch, measured["frechet_distance"], last
        print(f"epoch {checkpoint.epoch}: Fréchet distance {measured['frechet_distance']:.2f}", flush=True)
    assert best is not None

    among = sight.spaces(unseen, seen)
    # The floor's images must not be among those that they could be copies of.
    apart = sight.spaces(unseen, seen[: -len(test.images)])
    write_csv(Path("plots/quality.csv"), ("epoch", "step", *measured), rows)
    write_json(
        Path("metrics/evaluate.json"),
        {"samples": options.samples}
        | sight.report(last, unseen, among)
        | {"floor": sight.report(validation, unseen, apart)}
        | {"best": {"epoch": best[0]} | sight.distances(best[2], among)},
    )
    nearest = [measures.nearest(last.features[name][:NEAREST], seen.features[name])[1] for name in sight.SPACES]
    shown = torch.cat([pictures[:NEAREST], *(training.images[indices] for indices in nearest)])
    write_atomically(Path("plots/nearest.png"), images.png(images.grid(shown, NEAREST)))


def seeded_latents(count: int, latent_dim: int, seed: int) -> Tensor:
    """Standard normal ``[count, latent_dim]``, the same for every checkpoint."""
    return torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(seed))


if __name__ == "__main__":
    run_as_program(main)
