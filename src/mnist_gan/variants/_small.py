"""What the variants with small convolutional networks share, so that their files differ by the idea alone.

The networks, made for two cores and a minute; Muon for the inner layers of the discriminator; images drawn from a
moving average of the generator; a learning rate that falls to zero; the gradient penalty.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from math import prod
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from mnist_gan import variants
from mnist_gan.config import Count
from mnist_gan.variants import ImageShape
from mnist_gan.variants._moments import Moments


class Options(variants.Options):
    """What all variants have, and what the small ones share; 0.2.0 knew none of those that have a default."""

    fixed: ClassVar[tuple[str, ...]] = (*variants.Options.fixed, "width", "ratio", "muon", "supersampling", "moments")

    width: Annotated[int, Field(ge=2, le=1024)]
    """Maps before the generator's last layer."""
    ratio: Annotated[float, Field(ge=1, le=8)] = 1.0
    """The discriminator's width as a multiple of the generator's; its first layer makes half as many maps."""
    decay: Annotated[float, Field(ge=0, le=1)]
    """The last part of the training, in which the learning rate falls to zero in a straight line."""
    average: Annotated[float, Field(ge=0, lt=1)]
    """What a step leaves of the averaged generator's weights."""
    augment: bool = False
    """Whether the discriminator sees every image moved and with a hole, for few images."""
    muon: bool = False
    """Whether the discriminator's inner convolutions are trained by Muon."""
    supersampling: Annotated[int, Field(ge=1, le=64)] = 1
    """Values of the generator's last layer whose mean is a pixel."""
    moments: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the distance of ``Moments`` in the generator's loss."""


class Variant(variants.Variant):
    """Two networks, the average and the decay; the game is left to say."""

    def __init__(
        self, options: Options, generator: nn.Module, discriminator: nn.Module, latent_dim: int, image_shape: ImageShape
    ) -> None:
        super().__init__(generator, discriminator, latent_dim)
        self.options = options
        self.averaged = deepcopy(generator).requires_grad_(False)
        self.moments = Moments(image_shape) if options.moments else None
        self.register_buffer("updates", torch.zeros(()))
        self.updates: Tensor

    def see(self, batches: Iterable[Tensor]) -> None:
        """Take the training images' moments, where they are to be matched."""
        if self.moments:
            self.moments.see(batches)

    def mismatch(self, fake: Tensor) -> Tensor:
        """What the generator pays, beside the game, where the moments of ``fake`` are not the training images'."""
        return self.options.moments * self.moments(fake) if self.moments else fake.new_zeros(())

    @property
    def by_muon(self) -> Sequence[nn.Parameter]:
        """The discriminator's convolutions but for the first, which reads an image's few channels."""
        kernels = [weight for weight in self.discriminator.parameters() if weight.ndim == 4]
        return kernels[1:] if self.options.muon else ()

    @property
    def drawn(self) -> nn.Module:
        """The average over steps."""
        return self.averaged

    def rate(self, done: float) -> float:
        """One, then down to zero."""
        return min(1.0, (1 - done) / self.options.decay) if self.options.decay else 1.0

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged generator a little towards the present one.

        By 9 / (10 + updates) while that is more than the option says: else the untrained weights would stay for long.
        """
        self.updates += 1
        weight = (9 / (10 + self.updates)).clamp(min=1 - self.options.average)
        for averaged, present in zip(floats(self.averaged), floats(self.generator), strict=True):
            averaged.lerp_(present, weight)


class PenalisedOptions(Options):
    """Those of the small variants, and the penalty's."""

    gamma: Annotated[float, Field(ge=0)]
    """Weight of the penalty in the steps that have it."""
    penalty_interval: Count
    """Steps from one computation of the penalty to the next."""


class Penalised(Variant):
    """A small variant whose discriminator pays for being steep, in some of the steps."""

    options: PenalisedOptions

    def kind(self, step: int) -> dict[str, bool]:
        """Whether the penalty is due (lazy regularisation: Karras et al. 2020, arXiv 1912.04958, section 3.1)."""
        return {"penalised": step % self.options.penalty_interval == 0}


def penalty(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The squared gradient of the logit by the image, a mean over ``images`` ``[N, C, H, W]``, in float32.

    Twice R1 of real images and R2 of generated ones (equation 9 of Mescheder et al. 2018, arXiv 1801.04406).
    """
    images = images.detach().requires_grad_()
    with torch.autocast(images.device.type, enabled=False):
        logits = discriminator(images).sum()
        (gradients,) = torch.autograd.grad(logits, images, create_graph=True)
    return gradients.square().sum(dim=(1, 2, 3)).mean()


def floats(network: nn.Module) -> list[Tensor]:
    """Weights and BatchNorm's running statistics, without its counters."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


class Generator(nn.Sequential):
    """A Linear layer to maps of an eighth of the size, then three transposed convolutions that double it."""

    def __init__(self, inputs: int, image_shape: ImageShape, options: Options) -> None:
        channels, height, breadth = image_shape
        width = options.width
        small = (4 * width, height // 8, breadth // 8)
        super().__init__(
            nn.Linear(inputs, prod(small)),
            nn.Unflatten(1, small),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, options.supersampling * channels, 4, stride=2, padding=1),
            nn.Tanh(),
            Mean(options.supersampling),
        )


class Mean(nn.Module):
    """The mean over ``count`` pictures that lie one behind the other: a grey pixel is partly black, partly white.

    A single tanh has to stop between its ends to draw the edge of a stroke, where the least change of what it is given
    shows most. Where samples of a pixel are averaged, each may be all black or all white.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, images: Tensor) -> Tensor:
        """``[N, count * C, H, W]`` to ``[N, C, H, W]``."""
        mean: Tensor = images.unflatten(1, (self.count, -1)).mean(dim=1)
        return mean

    def extra_repr(self) -> str:
        """What ``print`` says of it."""
        return str(self.count)


def augmented(images: Tensor) -> Tensor:
    """``images`` ``[N, C, H, W]`` as the discriminator may see them (Zhao et al. 2020, arXiv 2006.10738, section 4).

    Each is moved by up to an eighth of its side, and has a grey square of half its side. What was learned by heart does
    not help, and the generator gets its gradients through it, so that it does not learn to draw holes.
    """
    size = images.shape[-1]
    places = torch.arange(size, device=images.device)

    def drawn(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (2, len(images), 1), device=images.device)

    far = size // 8
    # Products, as indexing has no second derivative that is quick and equal each time.
    down, right = ((places[:, None] + by[..., None] == places).to(images.dtype)[:, None] for by in drawn(-far, far + 1))
    high, wide = ((places - middle).abs() < size // 4 for middle in drawn(0, size))
    hole = (high[:, :, None] & wide[:, None, :])[:, None]
    seen: Tensor = (down.mT @ images @ right) * ~hole
    return seen


class Discriminator(nn.Sequential):
    """Three convolutions of stride 2 and one of stride 1; no normalisation, which the penalties do not go with."""

    def __init__(self, image_shape: ImageShape, options: Options, outputs: int = 1) -> None:
        channels, height, breadth = image_shape
        width = round(options.width * options.ratio)
        super().__init__(
            nn.Conv2d(channels, width // 2, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width // 2, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * width * (height // 8) * (breadth // 8), outputs),
        )
        self.augment = options.augment

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, outputs]`` of images ``[N, C, H, W]``."""
        logits: Tensor = super().forward(augmented(images) if self.augment else images)
        return logits
