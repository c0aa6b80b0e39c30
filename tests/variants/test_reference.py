"""Both variants are the article's networks, layer by layer."""

import pytest
import torch
from conftest import ROOT
from reference import DISCRIMINATORS, GENERATORS, eval_norm, no_dropout, train_norm
from torch import nn

from mnist_gan import variants
from mnist_gan.config import load

VARIANTS = ["gan", "dcgan"]
# By hand, for latent_dim 100 and 1 x 32 x 32: weights and biases of every layer, two values a BatchNorm feature.
PARAMETERS = {
    "gan": (
        (100 * 128 + 128)
        + (128 * 256 + 256 + 2 * 256)
        + (256 * 512 + 512 + 2 * 512)
        + (512 * 1024 + 1024 + 2 * 1024)
        + (1024 * 1024 + 1024),
        (1024 * 512 + 512) + (512 * 256 + 256) + (256 + 1),
    ),
    "dcgan": (
        (100 * 8192 + 8192) + 2 * 128 + (128 * 128 * 9 + 128 + 2 * 128) + (128 * 64 * 9 + 64 + 2 * 64) + (64 * 9 + 1),
        (16 * 9 + 16)
        + (16 * 32 * 9 + 32 + 2 * 32)
        + (32 * 64 * 9 + 64 + 2 * 64)
        + (64 * 128 * 9 + 128 + 2 * 128)
        + (512 + 1),
    ),
}


def build(name: str, latent_dim: int, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
    made = variants.build(name, variants.parse(name, load(ROOT / "params.yaml").variants[name]), latent_dim, shape)
    return made.generator, made.discriminator


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def spread_statistics(network: nn.Module) -> None:
    """Give BatchNorm layers weights and running statistics that differ from their first values."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.get_buffer("running_var")):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.get_buffer("running_mean")):
                nn.init.uniform_(tensor, -0.5, 0.5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameter_counts(variant: str) -> None:
    generator, discriminator = build(variant, 100, (1, 32, 32))
    assert (count(generator), count(discriminator)) == PARAMETERS[variant]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [16, 32, 48, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_outputs_equal_the_plain_statement(variant: str, size: int, channels: int, mode: str) -> None:
    torch.manual_seed(0)
    shape = (channels, size, size)
    generator, discriminator = build(variant, 20, shape)
    spread_statistics(generator)
    spread_statistics(discriminator)
    generator.train(mode == "train")
    discriminator.train(mode == "train")
    for module in discriminator.modules():
        if isinstance(module, nn.Dropout2d):
            module.eval()
    latents = torch.randn(8, 20)

    def norm(network: nn.Module):  # type: ignore[no-untyped-def]
        return train_norm if mode == "train" else eval_norm(iter(list(network.buffers())))

    expected = GENERATORS[variant](list(generator.parameters()), latents, norm(generator), shape)
    images = generator(latents)
    assert images.shape == (8, *shape)
    assert images.abs().max() <= 1
    torch.testing.assert_close(images, expected, rtol=1e-4, atol=1e-5)

    believed = DISCRIMINATORS[variant](list(discriminator.parameters()), images, norm(discriminator), no_dropout)
    logits = discriminator(images)
    assert logits.shape == (8, 1)
    torch.testing.assert_close(logits.sigmoid(), believed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_image_does_not_depend_on_its_batch(variant: str) -> None:
    generator, _ = build(variant, 100, (1, 32, 32))
    generator.eval()
    latents = torch.randn(9, 100)
    torch.testing.assert_close(generator(latents)[:2], generator(latents[:2]), rtol=1e-4, atol=1e-5)
