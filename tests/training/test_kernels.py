"""The faster layers give what torch's give: forward, backward and twice backward. What is not exactly a pair stays."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mnist_gan import variants
from mnist_gan.config import VARIANTS, load
from mnist_gan.training.kernels import BiasAfter, FromImage, OneDnnLinear, ToImage, UpsampleConv2d, accelerate


def run(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Output, gradients of a weighted sum of outputs, and gradients of the squares of those gradients."""
    inputs = inputs.clone().requires_grad_()
    outputs = network(inputs)
    weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))
    # A square, so that the second derivatives are not those of a linear function.
    first = torch.autograd.grad((outputs.square() * weights).sum(), inputs, create_graph=True)[0]
    parameters = dict(network.named_parameters())
    second = torch.autograd.grad(first.square().sum(), [inputs, *parameters.values()], retain_graph=True)
    plain = torch.autograd.grad(outputs.sum(), list(parameters.values()))
    return {"outputs": outputs, "first": first, "second of inputs": second[0]} | {
        f"{order} of {name}": gradient
        for order, gradients in (("second", second[1:]), ("first", plain))
        for name, gradient in zip(parameters, gradients, strict=True)
    }


def check(network: nn.Module, inputs: Tensor) -> nn.Module:
    """The accelerated copy of ``network``, after it gave what ``network`` gives."""
    fast = deepcopy(network)
    accelerate(fast, torch.device("cpu"), "float32")
    torch.testing.assert_close(run(fast, inputs), run(network, inputs), rtol=2e-3, atol=2e-3)
    assert list(fast.state_dict()) == list(network.state_dict())
    return fast


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(3, 16, 8, 8), (2, 5, 4, 4), (1, 2, 1, 3)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("factor", [2, 2.0, (2, 2)])
@pytest.mark.parametrize("padding", [1, "same"])
def test_upsample_convolution(shape: tuple[int, ...], bias: bool, factor: Any, padding: Any) -> None:
    pair = nn.Sequential(nn.Upsample(scale_factor=factor), nn.Conv2d(shape[1], 7, 3, padding=padding, bias=bias))
    fast = check(pair, torch.randn(shape))
    assert isinstance(fast.get_submodule("1"), UpsampleConv2d)


NEIGHBOURS: dict[str, list[nn.Module]] = {
    "a 1x1 convolution": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 1)],
    "a 1x1 convolution, padded": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 1, padding=1)],
    "a 5x5 convolution": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 5, padding=2)],
    "an oblong convolution": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, (3, 1), padding=(1, 0))],
    "no padding": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3)],
    "more padding": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3, padding=2)],
    "padding of another kind": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")],
    "a stride": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3, stride=2, padding=1)],
    "dilation": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3, padding=1, dilation=2)],
    "groups": [nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3, padding=1, groups=2)],
    "a transposed convolution": [nn.Upsample(scale_factor=2), nn.ConvTranspose2d(4, 6, 3, padding=1)],
    "bilinear": [nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 6, 3, padding=1)],
    "bicubic": [nn.Upsample(scale_factor=2, mode="bicubic"), nn.Conv2d(4, 6, 3, padding=1)],
    "nearest-exact": [nn.Upsample(scale_factor=1.5, mode="nearest-exact"), nn.Conv2d(4, 6, 3, padding=1)],
    "three times": [nn.Upsample(scale_factor=3), nn.Conv2d(4, 6, 3, padding=1)],
    "one and a half": [nn.Upsample(scale_factor=1.5), nn.Conv2d(4, 6, 3, padding=1)],
    "in one direction": [nn.Upsample(scale_factor=(2, 1)), nn.Conv2d(4, 6, 3, padding=1)],
    "to a size": [nn.Upsample(size=(8, 8)), nn.Conv2d(4, 6, 3, padding=1)],
    "something between": [nn.Upsample(scale_factor=2), nn.Softplus(), nn.Conv2d(4, 6, 3, padding=1)],
    "the other order": [nn.Conv2d(4, 4, 3, padding=1), nn.Softplus(), nn.Upsample(scale_factor=2)],
    "spectral norm": [nn.Upsample(scale_factor=2), spectral_norm(nn.Conv2d(4, 6, 3, padding=1)).eval()],
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_neighbour_of_the_pair_stays_as_it_is(name: str) -> None:
    fast = check(nn.Sequential(*NEIGHBOURS[name]), torch.randn(2, 4, 4, 4))
    assert not any(isinstance(module, UpsampleConv2d) for module in fast.modules())


def test_a_pair_with_a_hook_stays() -> None:
    pair = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3, padding=1))
    pair[1].register_forward_hook(lambda _module, _inputs, outputs: outputs * 2)
    assert not isinstance(check(pair, torch.randn(2, 4, 4, 4)).get_submodule("1"), UpsampleConv2d)


class Residual(nn.Sequential):
    def forward(self, inputs: Tensor) -> Tensor:
        repeated: Tensor = self[0](inputs)
        convolved: Tensor = self[1](repeated)
        return repeated + convolved


def test_layers_of_a_network_that_calls_them_its_own_way_stay() -> None:
    check(Residual(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1)), torch.randn(2, 4, 4, 4))


def test_pairs_inside_of_others_and_in_a_row() -> None:
    inner = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1))
    fast = check(
        nn.Sequential(inner, nn.Upsample(scale_factor=2), nn.Conv2d(4, 2, 3, padding=1)), torch.randn(2, 4, 4, 4)
    )
    assert len([module for module in fast.modules() if isinstance(module, UpsampleConv2d)]) == 2


FASTER = {
    "from grey, stride 2": (FromImage, nn.Conv2d(1, 7, 4, stride=2, padding=1)),
    "from colours, a rest at the border": (FromImage, nn.Conv2d(3, 7, 3, stride=2, padding=1)),
    "from grey, no bias, no padding": (FromImage, nn.Conv2d(1, 5, 3, bias=False)),
    "from grey, between the taps": (FromImage, nn.Conv2d(1, 5, 2, stride=3)),
    "from grey to grey": (FromImage, nn.Conv2d(1, 1, 3, padding=1)),
    "to grey": (ToImage, nn.Conv2d(6, 1, 3, padding=1)),
    "to colours, no bias, no padding": (ToImage, nn.Conv2d(6, 3, 3, bias=False)),
    "to grey, padded to the full": (ToImage, nn.Conv2d(6, 1, 3, padding=2)),
    "to grey, 1x1": (ToImage, nn.Conv2d(6, 1, 1)),
    "to grey, transposed": (ToImage, nn.ConvTranspose2d(6, 1, 4, stride=2, padding=1)),
    "to colours, transposed": (ToImage, nn.ConvTranspose2d(6, 3, 3, stride=2)),
    "transposed": (BiasAfter, nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1)),
    "transposed, no bias": (BiasAfter, nn.ConvTranspose2d(6, 5, 4, stride=2, bias=False)),
    "transposed, groups and gaps": (BiasAfter, nn.ConvTranspose2d(6, 4, 3, padding=1, groups=2, dilation=2)),
    "to grey, more of an output": (BiasAfter, nn.ConvTranspose2d(5, 1, 3, stride=2, output_padding=1)),
}


@pytest.mark.parametrize("name", FASTER)
def test_a_convolution_has_its_faster_form(name: str) -> None:
    kind, layer = FASTER[name]
    network = nn.Sequential(layer).to(memory_format=torch.channels_last)
    fast = check(network, torch.randn(3, layer.in_channels, 9, 8))
    assert isinstance(fast.get_submodule("0"), kind)


@pytest.mark.parametrize("name", FASTER)
def test_in_bfloat16_it_is_as_near_to_the_truth_as_torch(name: str) -> None:
    _, layer = FASTER[name]
    network, inputs = nn.Sequential(layer), torch.randn(3, layer.in_channels, 9, 8)
    fast = deepcopy(network)
    accelerate(fast, torch.device("cpu"), "bfloat16")

    def gradients(network: nn.Module, *, autocast: bool) -> list[Tensor]:
        images = inputs.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs = network(images).float()
        weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))
        return [outputs, *torch.autograd.grad((outputs * weights).sum(), [images, *network.parameters()])]

    exact, torchs, ours = (
        gradients(network, autocast=False),
        gradients(network, autocast=True),
        gradients(fast, autocast=True),
    )
    for truth, of_torch, of_ours in zip(exact, torchs, ours, strict=True):
        assert of_ours.dtype == of_torch.dtype
        # Bfloat16 rounds by up to 2^-9 of a value.
        assert (of_ours - truth).norm() <= 1.5 * (of_torch - truth).norm() + 2**-9 * truth.norm()


OTHER_LAYERS: dict[str, nn.Module] = {
    "more channels than an image": nn.Conv2d(4, 4, 3),
    "to grey in strides": nn.Conv2d(5, 1, 3, stride=2),
    "to grey, padded beyond the kernel": nn.Conv2d(5, 1, 3, padding=3),
    "dilation": nn.Conv2d(1, 5, 3, dilation=2),
    "groups": nn.Conv2d(2, 6, 3, groups=2),
    "oblong": nn.Conv2d(1, 5, (3, 1)),
    "oblong strides": nn.Conv2d(1, 5, 3, stride=(1, 2)),
    "padding of another kind": nn.Conv2d(1, 5, 3, padding=1, padding_mode="reflect"),
    "padding by name": nn.Conv2d(1, 5, 3, padding="same"),
    "spectral norm": spectral_norm(nn.Conv2d(1, 5, 3)).eval(),
}


@pytest.mark.parametrize("name", OTHER_LAYERS)
def test_every_other_convolution_stays_as_it_is(name: str) -> None:
    layer = OTHER_LAYERS[name]
    assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    fast = check(nn.Sequential(layer), torch.randn(2, layer.in_channels, 8, 8))
    assert type(fast.get_submodule("0")) is type(layer)


def test_on_a_gpu_only_pairs_are_replaced() -> None:
    network = nn.Sequential(
        nn.Linear(3, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(5, 1, 3)
    )
    accelerate(network, torch.device("cuda"), "float32")
    assert [type(layer) for layer in network] == [nn.Linear, nn.Identity, UpsampleConv2d, nn.Conv2d]


@pytest.mark.parametrize("shape", [(64, 100), (1, 100), (3, 5, 100)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape: tuple[int, ...], bias: bool) -> None:
    fast = check(nn.Sequential(nn.Linear(100, 33, bias=bias)), torch.randn(shape))
    assert isinstance(fast.get_submodule("0"), OneDnnLinear)


def test_a_penalty_passes_through_linear_layers() -> None:
    """R1 of a network of these layers trains every weight but the last bias."""
    network = nn.Sequential(nn.Linear(20, 30), nn.Softplus(), nn.Linear(30, 1))
    fast = deepcopy(network)
    accelerate(fast, torch.device("cpu"), "float32")
    gradients = []
    for each in (network, fast):
        images = torch.randn(8, 20, generator=torch.Generator().manual_seed(0)).requires_grad_()
        (slope,) = torch.autograd.grad(each(images).sum(), images, create_graph=True)
        slope.square().sum().backward()
        gradients.append([parameter.grad for parameter in each.parameters()][:3])
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients[1])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("name", VARIANTS)
def test_accelerate_keeps_parameters_and_their_names(name: str) -> None:
    options = variants.parse(name, load(ROOT / "params.yaml").variants[name])
    variant = variants.build(name, options, 100, (1, 32, 32))
    before = variant.state_dict(keep_vars=True)
    accelerate(variant, torch.device("cpu"), "float32")
    after = variant.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[key] is before[key] for key in before)
    # A layer with a parametrization, as sngan's, has a class of its own, and stays.
    assert not any(type(module) in (nn.Upsample, nn.Linear) for module in variant.modules())
