"""Muon's step has the gradient's singular vectors, and is as long in each of their directions."""

import pytest
import torch
from conftest import engine_of
from torch import Tensor

from mnist_gan.data.prepared import Split
from mnist_gan.training.muon import LENGTH, Muon, orthogonal


@pytest.mark.parametrize("shape", [(24, 192), (64, 64), (96, 20)])
def test_all_singular_values_become_about_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = left @ torch.diag(torch.logspace(0, -2, len(values))) @ right
    found = orthogonal(matrix)
    seen = left.t() @ found @ right.t()
    assert 0.65 < seen.diagonal().min() < seen.diagonal().max() < 1.25
    torch.testing.assert_close(seen, torch.diag(seen.diagonal()), atol=1e-3, rtol=0)


def test_nothing_to_learn_changes_nothing() -> None:
    weight = torch.ones(8, 2, 3, 3)
    weight.grad = torch.zeros_like(weight)
    Muon([weight, without := torch.ones(2, 2)], torch.tensor(0.1), 0.0).step()
    assert weight.eq(1).all()
    assert without.eq(1).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("format_of", [torch.contiguous_format, torch.channels_last])
def test_a_step_is_as_long_as_said_whatever_the_gradients_scale(scale: float, format_of: torch.memory_format) -> None:
    torch.manual_seed(0)
    weight = torch.zeros(32, 16, 4, 4).contiguous(memory_format=format_of)
    weight.grad = scale * torch.randn_like(weight)
    downhill = -weight.grad.clone()
    muon = Muon([weight], torch.tensor(0.01), 0.0)
    muon.step()
    assert weight.grad is None
    assert weight.square().mean().sqrt().item() == pytest.approx(0.01 * LENGTH, rel=0.2)
    torch.testing.assert_close(weight, 0.01 * LENGTH * 16 * orthogonal(downhill.flatten(1)).view_as(weight))


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("shape", [(32, 128), (64, 20)])
def test_it_is_torchs_muon_but_for_bfloat16(shape: tuple[int, int], momentum: float) -> None:
    torch.manual_seed(0)
    weight, other = (torch.zeros(shape, requires_grad=True) for _ in range(2))
    ours = Muon([weight], torch.tensor(0.1), momentum)
    theirs = torch.optim.Muon(
        # Its steps are 0.2 of the rate.
        [other], lr=0.1 * LENGTH / 0.2, weight_decay=0, momentum=momentum, nesterov=False,
        adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    for _ in range(3):
        gradient = torch.randn(shape)
        weight.grad, other.grad = gradient.clone(), gradient.clone()
        ours.step()
        theirs.step()
    assert (weight - other).norm() < 0.03 * other.norm()


@pytest.mark.parametrize("name", ["nsgan", "sngan", "r3gan", "cr3gan"])
def test_the_discriminators_inner_convolutions_are_trained_by_it(
    workspace: object, train_split: Split, name: str
) -> None:
    def trained(muon: bool) -> dict[str, Tensor]:
        engine = engine_of(name, train_split.images[:64], options={"muon": muon, "batch_size": 32})
        list(engine.epoch())
        return engine.state()

    with_it, without = trained(True), trained(False)
    averages = [tensor for key, tensor in with_it.items() if key.startswith("discriminator.average.")]
    assert [tuple(tensor.shape[2:]) for tensor in averages] == [(4, 4), (4, 4), (3, 3)]
    assert all(tensor.count_nonzero() for tensor in averages)
    assert not any(key.startswith("generator.average.") for key in with_it)
    assert not any(".average." in key for key in without)
