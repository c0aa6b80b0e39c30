"""Render the pictures of a result, and the page that draws more."""

from pathlib import Path

import torch
from torch import Tensor, nn

from mnist_gan import config
from mnist_gan.data import images
from mnist_gan.files import write_atomically
from mnist_gan.quality import judge
from mnist_gan.stages import _play
from mnist_gan.training import generators
from mnist_gan.variants import Conditional

PLOTS = Path("plots")
PROGRESSION_ROWS = 10
DRAWN = 2000
"""Images that the rows of classes are chosen from."""
SEEDS = 1000
"""Of which the page knows the class in the images of a generator that cannot be told it."""


def main() -> None:
    """Write four pictures, two animations and the page to plots/."""
    options = config.load().render
    final = generators.read()
    generator, latent_dim = final.generator, final.origin.latent_dim
    samples = generators.read_training()["samples"]
    columns, steps = options.columns, options.interpolation_steps
    strips = interpolation(generator, latent_dim, columns, steps)
    pictures = {
        "samples": images.grid(samples[-1], columns=5),
        "progression": images.grid(progression(samples, columns), columns),
        "interpolation": images.grid(strips, steps),
        "classes": images.grid(by_class(generator, latent_dim, columns), columns),
    }
    for name, picture in pictures.items():
        write_atomically(PLOTS / f"{name}.png", images.png(picture))

    training = [images.grid(moment, columns=5, scale=1) for moment in samples]
    write_atomically(PLOTS / "progression.gif", images.gif(training, frame_ms=200, last_ms=3000))
    there = [images.grid(moment, columns, scale=1) for moment in strips.unflatten(0, (columns, steps)).transpose(0, 1)]
    write_atomically(PLOTS / "interpolation.gif", images.gif(there + there[-2:0:-1], frame_ms=120, last_ms=120))

    origin = final.origin
    name = f"{origin.variant}, {final.epoch} epoch{'s' * (final.epoch != 1)}, seed {origin.shared['seed']}"
    page = _play.page(final, name, [] if isinstance(generator, Conditional) else seen(generator, latent_dim))
    write_atomically(PLOTS / "play.html", page.encode())


def seen(generator: nn.Module, latent_dim: int) -> list[int]:
    """The class that the judges see in the image of each of SEEDS seeds."""
    seeds = (torch.Generator().manual_seed(seed) for seed in range(SEEDS))
    latents = torch.stack([torch.randn(latent_dim, generator=seed) for seed in seeds])
    _, said = judged(generator, latents)
    return said.argmax(dim=1).tolist()


@torch.inference_mode()
def judged(generator: nn.Module, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Images uint8 ``[N, C, H, W]``, and the judges' probabilities ``[N, K]`` of their classes."""
    generated = images.generate(generator, latents)
    judges = judge.read()
    return generated, judge.probabilities(judges, [judge.features(one, generated) for one in judges])


def progression(samples: Tensor, columns: int) -> Tensor:
    """One row a step, spread evenly over the sampled steps, both ends included.

    Args:
        samples: uint8 ``[S, N, C, H, W]``, at each of S steps.

    Returns:
        Images uint8 ``[rows * columns, C, H, W]``.
    """
    rows = torch.linspace(0, len(samples) - 1, min(PROGRESSION_ROWS, len(samples))).round().int()
    return samples[rows, :columns].flatten(0, 1)


def interpolation(generator: nn.Module, latent_dim: int, rows: int, steps: int) -> Tensor:
    """One row a pair of latents, from one to the next and around: uint8 ``[rows * steps, C, H, W]``."""
    latents = images.fixed_latents(rows, latent_dim)
    path = [images.slerp(start, end, steps) for start, end in zip(latents, latents.roll(-1, 0), strict=True)]
    return images.generate(generator, torch.cat(path))


def by_class(generator: nn.Module, latent_dim: int, columns: int) -> Tensor:
    """One row a class, from the image that the judges are surest of to the one they are least sure of.

    The images are spread evenly over all that they take for the class; where they are fewer than ``columns``, black
    ones follow.

    Returns:
        Images uint8 ``[classes * columns, C, H, W]``.
    """
    generated, said = judged(generator, images.fixed_latents(DRAWN, latent_dim))
    surest = said.max(dim=1)
    rows = generated.new_zeros(said.shape[1], columns, *generated.shape[1:])
    for label, row in enumerate(rows):
        drawn = (surest.indices == label).nonzero().squeeze(1)
        drawn = drawn[surest.values[drawn].argsort(descending=True, stable=True)]
        spread = torch.linspace(0, len(drawn) - 1, min(columns, len(drawn))).round().long()
        row[: len(spread)] = generated[drawn[spread]]
    return rows.flatten(0, 1)
