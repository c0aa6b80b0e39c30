"""Our step gives the article's losses from the same weights, noise and images; each variant's step keeps its word."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import engine_of
from reference import Training, dropout, no_dropout
from torch import Tensor, nn
from torch.optim import Adam

from mnist_gan import variants
from mnist_gan.config import VARIANTS, load
from mnist_gan.data.images import to_float
from mnist_gan.data.mnist import Split
from mnist_gan.variants import Variant

BATCH = 16
SHAPE = (1, 32, 32)


def variant_of(name: str, latent_dim: int = 100) -> Variant:
    return variants.build(name, variants.parse(name, load().variants[name]), latent_dim, SHAPE)


@pytest.mark.parametrize(
    ("name", "steps"),
    # Adam makes a full step of a gradient that is nothing but rounding, so that two float32 trainings part by a
    # factor of about 1.6 a step: DCGAN's pass 1e-4 near step 16. The test in float64 holds to the end.
    [("gan", 20), ("dcgan", 10)],
)
@pytest.mark.parametrize("with_dropout", [True, False])
def test_the_engines_steps_equal_the_article_in_float32(
    workspace: object, train_split: Split, name: str, steps: int, with_dropout: bool
) -> None:
    images = train_split.images[: steps * BATCH]
    engine = engine_of(name, images, precision="float32", options={"batch_size": BATCH})
    position = iter(torch.arange(steps * BATCH).split(BATCH))
    ours, theirs = both(
        engine.variant,
        lambda _: engine.train(next(position), {}),
        train_split,
        name,
        steps,
        with_dropout,
        torch.float32,
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["gan", "dcgan"])
@pytest.mark.parametrize("with_dropout", [True, False])
def test_steps_equal_the_article_in_float64(
    workspace: object, train_split: Split, name: str, with_dropout: bool
) -> None:
    torch.manual_seed(0)
    variant = variant_of(name).double()
    adams = {
        network: Adam(network.parameters(), lr=0.0002, betas=(0.5, 0.999))
        for network in (variant.generator, variant.discriminator)
    }
    ours, theirs = both(
        variant, lambda real: train(variant, adams, real), train_split, name, 20, with_dropout, torch.float64
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)


def train(variant: Variant, adams: dict[nn.Module, Adam], real: Tensor, **kind: bool) -> Tensor:
    """A step as its definition says, without an engine."""
    step = variant.step(real, **kind)
    while True:
        try:
            update = next(step)
        except StopIteration as end:
            record: Tensor = end.value
            return record
        update.loss.backward(inputs=list(update.network.parameters()), retain_graph=update.keep_graph)
        adams[update.network].step()
        adams[update.network].zero_grad()


def both(
    variant: Variant,
    ours_of: Callable[[Tensor], Tensor],
    split: Split,
    name: str,
    steps: int,
    with_dropout: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The records ``[steps, 4]`` of our step and of the article's from the same weights, images and noise."""
    if not with_dropout:
        for module in variant.discriminator.modules():
            if isinstance(module, nn.Dropout2d):
                module.eval()
    plain = Training(
        name,
        list(variant.generator.parameters()),
        list(variant.discriminator.parameters()),
        SHAPE,
        dropout if with_dropout else no_dropout,
    )
    ours, theirs = [], []
    for i in range(steps):
        real = to_float(split.images[BATCH * i : BATCH * (i + 1)]).to(dtype)
        torch.manual_seed(i)
        ours.append(ours_of(real.contiguous(memory_format=torch.channels_last)))
        torch.manual_seed(i)
        theirs.append(plain.step(real, torch.randn(BATCH, 100, dtype=dtype)))
    return torch.stack(ours), torch.tensor(theirs, dtype=dtype)


@pytest.mark.parametrize("logit", [500.0, -500.0])
def test_losses_survive_extreme_logits(workspace: object, train_split: Split, logit: float) -> None:
    variant = variant_of("gan")
    last = variant.discriminator.get_submodule("5")
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, logit)
    loss_g = next(variant.step(to_float(train_split.images[:4]))).loss
    assert loss_g.item() == max(0, -logit)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_returns_its_record(workspace: object, train_split: Split, name: str) -> None:
    variant = variant_of(name)
    assert variant.record[:2] == ("loss_g", "loss_d")
    record = list_of(variant, to_float(train_split.images[:4]))
    assert record.shape == (len(variant.record),)
    assert record.isfinite().all()
    assert not record.requires_grad


def list_of(variant: Variant, real: Tensor) -> Tensor:
    """The record of one step whose updates nobody makes."""
    step = variant.step(real, **variant.kind(0))
    while True:
        try:
            next(step)
        except StopIteration as end:
            record: Tensor = end.value
            return record


class TestRelativistic:
    """The parts of r3gan that the first two variants do not have."""

    @pytest.fixture
    def variant(self, workspace: object) -> Any:
        torch.manual_seed(0)
        return variant_of("r3gan")

    def test_the_penalty_is_the_squared_gradient(self, variant: Any, train_split: Split) -> None:
        """Against finite differences, image by image."""
        variant = variant.double()
        images = to_float(train_split.images[:2]).double()
        difference, direction = 1e-5, torch.zeros_like(images[:1])
        squares = torch.zeros(2, dtype=torch.float64)
        for pixel in range(direction.numel()):
            direction.view(-1)[pixel] = difference
            with torch.no_grad():
                slope = variant.discriminator(images + direction) - variant.discriminator(images - direction)
            squares += (slope[:, 0] / (2 * difference)).square()
            direction.zero_()
        torch.testing.assert_close(variant.penalty(images), squares.mean(), rtol=1e-5, atol=0)

    def test_the_penalty_trains_the_discriminator(self, variant: Any, train_split: Split) -> None:
        variant.penalty(to_float(train_split.images[:8])).backward()
        weights = [p for name, p in variant.discriminator.named_parameters() if name.endswith("weight")]
        assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in weights)

    def test_penalties_are_lazy(self, variant: Any) -> None:
        due = [step for step in range(20) if variant.kind(step)["penalised"]]
        assert due == [0, 8, 16]

    def test_the_rate_falls_to_zero_over_the_second_half(self, variant: Any) -> None:
        assert [variant.rate(done) for done in (0, 0.25, 0.5, 0.75, 1)] == [1, 1, 1, 0.5, 0]

    def test_only_differences_of_logits_matter(self, variant: Any, train_split: Split) -> None:
        real = to_float(train_split.images[:8])
        losses = []
        for shift in (0.0, 3.0):
            variant.discriminator[-1].bias.data += shift
            torch.manual_seed(1)
            losses.append([update.loss.item() for update in variant.step(real, penalised=False)])
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)
