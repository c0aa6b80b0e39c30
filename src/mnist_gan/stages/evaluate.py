"""Measure the quality of every checkpoint. Checkpoint selection uses other samples than the report."""

from pathlib import Path

import torch
from torch import Tensor

from mnist_gan import config
from mnist_gan.data import images
from mnist_gan.data.prepared import read_prepared
from mnist_gan.files import write_atomically, write_csv, write_json
from mnist_gan.quality import judge, measures, panel, ruler
from mnist_gan.quality.sight import SPACES, Eyes
from mnist_gan.training import generators, hardware, kernels

NEAREST = 20
"""Samples in the picture of nearest training images."""


def main() -> None:
    """Write metrics/evaluate.json, plots/quality.csv and plots/nearest.png.

    The best checkpoint is chosen against training images drawn at random. The report, of the best and of the last
    checkpoint, is on other latent vectors and against the test images.
    """
    params = config.load()
    options = params.evaluate
    hardware.configure()
    look, real = Eyes(), ruler.read()
    data = {
        "name": params.data.name,
        "noun": real.test.classes.noun,
        "test_images": len(real.test.images),
        "judges_accuracy": judge.read_accuracy(),
    }

    checkpoints = list(generators.checkpoints())
    last = checkpoints[-1]
    latents = seeded_latents(ruler.CHOOSING + options.samples, last.origin.latent_dim, options.seed)
    choosing, reporting = latents[: ruler.CHOOSING], latents[ruler.CHOOSING :]

    followed: list[dict[str, float]] = []
    for checkpoint in checkpoints:
        kernels.accelerate(checkpoint.generator, torch.device("cpu"), "float32")
        followed.append(real.follow(look(images.generate(checkpoint.generator, choosing))))
        print(f"epoch {checkpoint.epoch}: Fréchet distance {followed[-1]['frechet_distance']:.2f}", flush=True)
    rows = [(one.epoch, one.step, *measured.values()) for one, measured in zip(checkpoints, followed, strict=True)]
    best = min(zip(checkpoints, followed, strict=True), key=lambda pair: pair[1]["frechet_distance"])[0]

    pictures = images.generate(last.generator, reporting)
    measured = real.measure(look, pictures)
    few = reporting[: real.samples]
    of_best = measured if best is last else real.distances(look(images.generate(best.generator, few)))
    distances = {kind: {name: of_best[kind][name] for name in panel.DISTANCES} for kind in SPACES}

    write_csv(Path("plots/quality.csv"), ("epoch", "step", *followed[0]), rows)
    write_json(
        Path("metrics/evaluate.json"),
        {"ruler": real.name(options.samples, options.seed), "samples": real.samples, "data": data}
        | ruler.tabulate(measured)
        | {"floor": real.floor}
        | {"best": {"epoch": best.epoch} | ruler.tabulate(distances)},
    )
    shown = pictures[:NEAREST]
    training, centred = read_prepared("train").images, look.centred(shown)
    nearest = [measures.nearest(centred[kind], originals.training)[1] for kind, originals in real.originals.items()]
    shown = torch.cat([shown, *(training[indices] for indices in nearest)])
    write_atomically(Path("plots/nearest.png"), images.png(images.grid(shown, NEAREST)))


def seeded_latents(count: int, latent_dim: int, seed: int) -> Tensor:
    """Standard normal ``[count, latent_dim]``, the same for every generator."""
    return torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(seed))
