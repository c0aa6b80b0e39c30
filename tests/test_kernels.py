"""The faster layers give what torch's give, forward and backward; so does the optimizer."""

from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from mnist_gan.kernels import FusedAdam, OneDnnLinear, UpsampleConv2d, accelerate
from mnist_gan.networks import build


def run(network: nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
    """Output, and the gradients of the inputs and parameters for one and the same gradient of the output."""
    inputs = inputs.clone().requires_grad_()
    outputs = network(inputs)
    gradient = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))
    return outputs, *torch.autograd.grad(outputs, [inputs, *network.parameters()], gradient)


@pytest.mark.parametrize("shape", [(3, 128, 8, 8), (2, 5, 4, 4), (1, 2, 1, 3)])
def test_upsample_convolution(shape: tuple[int, int, int, int]) -> None:
    pair = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(shape[1], 7, 3, padding=1))
    ours = UpsampleConv2d(cast(nn.Conv2d, pair[1]))
    inputs = torch.randn(shape)
    torch.testing.assert_close(run(ours, inputs), run(pair, inputs), rtol=1e-4, atol=1e-4)


def test_linear() -> None:
    linear = nn.Linear(100, 33)
    inputs = torch.randn(64, 100)
    torch.testing.assert_close(run(OneDnnLinear(linear), inputs), run(linear, inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["gan", "dcgan"])
def test_accelerate_keeps_parameters_and_their_names(variant: str) -> None:
    for network in build(variant, 100, (1, 32, 32)):  # type: ignore[arg-type]
        before = network.state_dict(keep_vars=True)
        accelerate(network, onednn=True)
        after = network.state_dict(keep_vars=True)
        assert list(after) == list(before)
        assert all(after[name] is before[name] for name in before)
        assert not any(isinstance(module, nn.Upsample | nn.Linear) for module in network.modules())


def test_fused_adam() -> None:
    networks = [nn.Linear(20, 30), nn.Linear(20, 30)]
    networks[1].load_state_dict(networks[0].state_dict())
    ours = FusedAdam(networks[0].parameters(), lr=0.01, betas=(0.5, 0.999))
    theirs = Adam(networks[1].parameters(), lr=0.01, betas=(0.5, 0.999), fused=True)
    for _ in range(10):
        inputs = torch.randn(8, 20)
        for network in networks:
            network(inputs).square().mean().backward()
        ours.step()
        ours.zero_grad()
        theirs.step()
        theirs.zero_grad()
    torch.testing.assert_close(networks[0].weight, networks[1].weight, rtol=0, atol=0)
    torch.testing.assert_close(networks[0].bias, networks[1].bias, rtol=0, atol=0)
