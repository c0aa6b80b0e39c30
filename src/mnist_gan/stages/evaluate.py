"""Measure the quality of every checkpoint against held-out images."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mnist_gan import config, judge, quality, result
from mnist_gan.data import read_prepared
from mnist_gan.engine import keep_memory
from mnist_gan.errors import run_stage
from mnist_gan.files import write_csv, write_json
from mnist_gan.images import to_uint8
from mnist_gan.judge import Opinion


def main() -> None:
    """Write metrics/evaluate.json and plots/quality.csv."""
    options = config.load().evaluate
    keep_memory()
    referee = judge.read()
    real = judge.opinion(referee, read_prepared("test").images)
    held_in = judge.opinion(referee, read_prepared("train").images[: options.samples])

    rows = []
    for generator, origin in result.checkpoints():
        latents = seeded_latents(options.samples, origin.latent_dim, options.seed)
        generated = judge.opinion(referee, generate(generator, latents))
        distance = quality.frechet_distance(generated.features, real.features)
        rows.append((origin.epoch, origin.step, distance))
        print(f"epoch {origin.epoch}: Fréchet distance {distance:.2f}", flush=True)

    write_csv(Path("plots/quality.csv"), ("epoch", "step", "frechet_distance"), rows)
    write_json(Path("metrics/evaluate.json"), panel(generated, real) | {"floor": panel(held_in, real)})


def seeded_latents(count: int, latent_dim: int, seed: int) -> Tensor:
    """Standard normal ``[count, latent_dim]``, the same for every checkpoint."""
    return torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def generate(generator: nn.Module, latents: Tensor, batch_size: int = 500) -> Tensor:
    """Images uint8 ``[N, C, H, W]`` of ``generator``, in eval mode, from latents ``[N, latent_dim]``."""
    return torch.cat([to_uint8(generator(batch)) for batch in latents.split(batch_size)])


def panel(images: Opinion, real: Opinion) -> dict[str, Any]:
    """All measures of one set of images against the real test images, rounded to six digits."""
    histogram = quality.class_histogram(images.probabilities)
    measures = {
        "frechet_distance": quality.frechet_distance(images.features, real.features),
        "kernel_distance": quality.kernel_distance(images.features, real.features),
        "classifier_score": quality.classifier_score(images.probabilities),
        "total_variation": quality.total_variation(histogram, quality.class_histogram(real.probabilities)),
    }
    rounded = {name: round(value, 6) for name, value in measures.items()}
    return {"judge": rounded, "digits": {str(digit): part for digit, part in enumerate(histogram.tolist())}}


if __name__ == "__main__":
    run_stage(main)
