"""The two pairs of networks: GAN, fully connected, and DCGAN, convolutional.

They follow a published tutorial's two reference variants layer by layer, with two differences that leave
the mathematics as it is: discriminators return logits, without the closing Sigmoid (see ``objective``),
and image shapes are arguments. BatchNorm's eps of 0.8 is part of the reference: its ``BatchNorm(n, 0.8)``
sets eps, not momentum.
"""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from mnist_gan.config import Variant

ImageShape = tuple[int, int, int]
"""Channels, height, width."""

EPS = 0.8
SLOPE = 0.2
"""Of LeakyReLU below zero."""


def build(variant: Variant, latent_dim: int, image_shape: ImageShape) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator of ``variant``, in train mode, with torch's default initialisation.

    The generator maps latent vectors ``[N, latent_dim]``, standard normal, to images ``[N, *image_shape]``
    in [-1, 1]. The discriminator maps images to logits ``[N, 1]``, positive for real. Height and width are
    equal and a multiple of 16.
    """
    match variant:
        case "gan":
            return DenseGenerator(latent_dim, image_shape), DenseDiscriminator(image_shape)
        case "dcgan":
            return ConvGenerator(latent_dim, image_shape), ConvDiscriminator(image_shape)


class DenseGenerator(nn.Sequential):
    """Five Linear layers, doubling from 128 to 1024 features, then one value for each pixel."""

    def __init__(self, latent_dim: int, image_shape: ImageShape) -> None:
        layers: list[nn.Module] = [nn.Linear(latent_dim, 128), nn.LeakyReLU(SLOPE)]
        for before, after in pairwise((128, 256, 512, 1024)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after, EPS), nn.LeakyReLU(SLOPE)]
        super().__init__(*layers, nn.Linear(1024, prod(image_shape)), nn.Tanh(), nn.Unflatten(1, image_shape))


class DenseDiscriminator(nn.Sequential):
    """Three Linear layers; no normalisation."""

    def __init__(self, image_shape: ImageShape) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(prod(image_shape), 512),
            nn.LeakyReLU(SLOPE),
            nn.Linear(512, 256),
            nn.LeakyReLU(SLOPE),
            nn.Linear(256, 1),
        )


class ConvGenerator(nn.Module):
    """A Linear layer to 128 maps of a quarter of the size, then two doublings with a convolution each."""

    def __init__(self, latent_dim: int, image_shape: ImageShape) -> None:
        super().__init__()
        channels, height, width = image_shape
        small = (128, height // 4, width // 4)
        self.project = nn.Sequential(nn.Linear(latent_dim, prod(small)), nn.Unflatten(1, small))
        self.upsample = nn.Sequential(
            nn.BatchNorm2d(128),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.BatchNorm2d(128, EPS),
            nn.LeakyReLU(SLOPE),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.BatchNorm2d(64, EPS),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(64, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor) -> Tensor:
        images: Tensor = self.upsample(self.project(latents))
        return images


class ConvDiscriminator(nn.Sequential):
    """Four convolutions of stride 2, each with dropout of whole maps, then one Linear layer."""

    def __init__(self, image_shape: ImageShape) -> None:
        channels, height, width = image_shape
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, 16, 32, 64, 128)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE), nn.Dropout2d(0.25)]
            if before != channels:
                layers.append(nn.BatchNorm2d(after, EPS))
        super().__init__(*layers, nn.Flatten(), nn.Linear(128 * (height // 16) * (width // 16), 1))
