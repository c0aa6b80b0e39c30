"""Measure the quality of every checkpoint: the best is chosen on one set of real images and judged on another."""

from pathlib import Path

import torch
from torch import Tensor

from mnist_gan import config
from mnist_gan.data import images
from mnist_gan.data.mnist import read_prepared
from mnist_gan.files import write_atomically, write_csv, write_json
from mnist_gan.quality import measures, ruler, sight
from mnist_gan.training import generators, hardware

NEAREST = 20
"""Samples in the picture of nearest training images."""


def main() -> None:
    """Write metrics/evaluate.json, all of it against the test images, plots/quality.csv and plots/nearest.png."""
    options = config.load().evaluate
    hardware.configure()
    look, real = sight.Eyes(), ruler.read()

    rows: list[tuple[float, ...]] = []
    best = None
    for checkpoint in generators.checkpoints():
        latents = seeded_latents(options.samples, checkpoint.origin.latent_dim, options.seed)
        pictures = images.generate(checkpoint.generator, latents)
        last = look(pictures)
        measured = real.follow(last)
        rows.append((checkpoint.epoch, checkpoint.step, *measured.values()))
        if best is None or measured["frechet_distance"] < best[1]:
            best = checkpoint.epoch, measured["frechet_distance"], last
        print(f"epoch {checkpoint.epoch}: Fréchet distance {measured['frechet_distance']:.2f}", flush=True)
    assert best is not None

    write_csv(Path("plots/quality.csv"), ("epoch", "step", *measured), rows)
    write_json(
        Path("metrics/evaluate.json"),
        {"ruler": real.name(options.samples, options.seed), "samples": options.samples}
        | real.report(last)
        | {"floor": real.floor}
        | {"best": {"epoch": best[0]} | real.distances(best[2])},
    )
    nearest = [
        measures.nearest(last.features[name][:NEAREST], space.training)[1] for name, space in real.spaces.items()
    ]
    training = read_prepared("train").images
    shown = torch.cat([pictures[:NEAREST], *(training[indices] for indices in nearest)])
    write_atomically(Path("plots/nearest.png"), images.png(images.grid(shown, NEAREST)))


def seeded_latents(count: int, latent_dim: int, seed: int) -> Tensor:
    """Standard normal ``[count, latent_dim]``, the same for every checkpoint."""
    return torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(seed))
