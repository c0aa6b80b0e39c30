"""Render the pictures of a result."""

from pathlib import Path

import torch
from torch import Tensor, nn

from mnist_gan import config, images, result
from mnist_gan.errors import run_stage
from mnist_gan.files import write_atomically
from mnist_gan.images import to_uint8

PLOTS = Path("plots")
PROGRESSION_ROWS = 10


def main() -> None:
    """Write plots/samples.png, plots/progression.png and plots/interpolation.png."""
    options = config.load().render
    generator, origin = result.read_generator()
    samples = torch.stack(list(result.read_samples().values()))
    columns = options.columns
    pictures = {
        "samples": images.grid(samples[-1], columns=5),
        "progression": images.grid(progression(samples, columns), columns),
        "interpolation": images.grid(
            interpolation(generator, origin.latent_dim, columns, options.interpolation_steps),
            options.interpolation_steps,
        ),
    }
    for name, picture in pictures.items():
        write_atomically(PLOTS / f"{name}.png", images.png(picture))


def progression(samples: Tensor, columns: int) -> Tensor:
    """One row a step, spread evenly over the sampled steps, both ends included.

    Args:
        samples: uint8 ``[S, N, C, H, W]``, at each of S steps.

    Returns:
        Images uint8 ``[rows * columns, C, H, W]``.
    """
    rows = torch.linspace(0, len(samples) - 1, min(PROGRESSION_ROWS, len(samples))).round().int()
    return samples[rows, :columns].flatten(0, 1)


@torch.inference_mode()
def interpolation(generator: nn.Module, latent_dim: int, rows: int, steps: int) -> Tensor:
    """One row a pair of latents, from one to the next and around: uint8 ``[rows * steps, C, H, W]``."""
    latents = images.fixed_latents(rows, latent_dim)
    path = [images.slerp(start, end, steps) for start, end in zip(latents, latents.roll(-1, 0), strict=True)]
    return to_uint8(generator(torch.cat(path)))


if __name__ == "__main__":
    run_stage(main)
