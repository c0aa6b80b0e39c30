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
from mnist_gan.data.prepared import Split
from mnist_gan.variants import Conditional, Variant
from mnist_gan.variants._small import Mean, augmented, penalty

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


@pytest.mark.parametrize(("name", "steps"), [("gan", 20), ("dcgan", 5)])
@pytest.mark.parametrize("with_dropout", [True, False])
def test_steps_equal_the_article_in_float64(
    workspace: object, train_split: Split, name: str, steps: int, with_dropout: bool
) -> None:
    torch.manual_seed(0)
    variant = variant_of(name).double()
    adams = {
        network: Adam(network.parameters(), lr=0.0002, betas=(0.5, 0.999))
        for network in (variant.generator, variant.discriminator)
    }
    ours, theirs = both(
        variant, lambda real: train(variant, adams, real), train_split, name, steps, with_dropout, torch.float64
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
    variant.see([to_float(train_split.images[:500])])
    record = list_of(variant, to_float(train_split.images[:4]), train_split.labels[:4].long())
    assert record.shape == (len(variant.record),)
    assert record.isfinite().all()
    assert not record.requires_grad


def list_of(variant: Variant, real: Tensor, labels: Tensor) -> Tensor:
    """The record of one step whose updates nobody makes."""
    step = variant.step(real, *([labels] if variant.labelled else []), **variant.kind(0))
    while True:
        try:
            next(step)
        except StopIteration as end:
            record: Tensor = end.value
            return record


class TestSmall:
    """What the small variants share and the first two do not have."""

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
        torch.testing.assert_close(penalty(variant.discriminator, images), squares.mean(), rtol=1e-5, atol=0)

    def test_the_penalty_trains_the_discriminator(self, variant: Any, train_split: Split) -> None:
        penalty(variant.discriminator, to_float(train_split.images[:8])).backward()
        weights = [p for name, p in variant.discriminator.named_parameters() if name.endswith("weight")]
        assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in weights)

    def test_penalties_are_lazy(self, variant: Any) -> None:
        due = [step for step in range(20) if variant.kind(step)["penalised"]]
        assert due == [0, 8, 16]

    def test_the_rate_falls_to_zero_over_the_second_half(self, variant: Any) -> None:
        assert [variant.rate(done) for done in (0, 0.25, 0.5, 0.75, 1)] == [1, 1, 1, 0.5, 0]

    def test_a_pixel_is_the_mean_of_its_samples(self) -> None:
        red, green, blue = (torch.full((2, 4, 4), value) for value in (0.5, -0.25, 1))
        samples = torch.stack([red[0], green[0], blue[0], -red[1], green[1], torch.zeros(4, 4)])[None]
        seen = Mean(2)(samples)
        assert [channel.unique().tolist() for channel in seen[0]] == [[0], [-0.25], [0.5]]
        assert torch.equal(Mean(1)(samples), samples)

    @pytest.mark.parametrize("name", ["nsgan", "sngan", "r3gan", "cr3gan"])
    def test_a_generator_of_before_there_were_samples_is_read(self, workspace: object, name: str) -> None:
        options = load().variants[name]
        new, old = (
            variants.build(name, variants.parse(name, options | changed), 100, (1, 32, 32), 10).generator.state_dict()
            for changed in ({}, {"supersampling": 1})
        )
        without = {key: value for key, value in options.items() if key != "supersampling"}
        again = variants.build(name, variants.parse(name, without), 100, (1, 32, 32), 10).generator
        again.load_state_dict(old)
        assert old.keys() == new.keys()
        assert (old["10.bias"].shape, new["10.bias"].shape) == ((1,), (2,))

    def test_an_augmented_image_is_moved_and_has_a_hole(self, variant: Any) -> None:
        dots = torch.zeros(500, 1, 16, 16)
        dots[:, :, 8, 8] = 1
        seen = augmented(dots)
        places = seen.nonzero()[:, 2:]
        assert seen.sum() == len(places) > 300  # the others are in the hole
        for along in places.T:
            assert set(along.tolist()) == {6, 7, 8, 9, 10}
        white = augmented(torch.ones(500, 3, 16, 16))
        assert white.unique().tolist() == [0, 1]
        assert 0.1 < (white == 0).float().mean() < 0.4
        assert torch.equal(white[:, 0], white[:, 2])

    def test_an_augmented_discriminator_can_be_penalised(self, variant: Any) -> None:
        """The penalty is trained by, so that what it goes through has a second derivative."""
        images = torch.rand(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)

        def seen(images: Tensor) -> Tensor:
            torch.manual_seed(1)
            return augmented(images).square().sum()

        assert torch.autograd.gradgradcheck(seen, images)

    @pytest.mark.parametrize("name", ["nsgan", "sngan", "r3gan", "cr3gan"])
    def test_few_images_are_trained_on_with_augmentation(
        self, workspace: object, train_split: Split, name: str
    ) -> None:
        """Both networks have the same weights, so that a training may go on with it from one without."""
        plain, moved = (engine_of(name, train_split.images[:64], options={"augment": on, "batch_size": 32})
                            for on in (False, True))  # fmt: skip
        assert plain.variant.state_dict().keys() == moved.variant.state_dict().keys()
        records = [engine.train(torch.arange(32), engine.variant.kind(0)) for engine in (plain, moved)]
        assert records[1].isfinite().all()
        assert not torch.equal(*records)

    def test_only_differences_of_logits_matter(self, variant: Any, train_split: Split) -> None:
        real = to_float(train_split.images[:8])
        losses = []
        for shift in (0.0, 3.0):
            variant.discriminator[-1].bias.data += shift
            torch.manual_seed(1)
            losses.append([update.loss.item() for update in variant.step(real, penalised=False)])
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_spectrally_normalised_discriminator_is_not_steep(workspace: object, train_split: Split) -> None:
    """No layer stretches more than 1: by the largest singular value of its weights, as a matrix."""
    variant = variant_of("sngan")
    for _ in range(200):  # each pass improves the estimate of the singular vectors
        variant.discriminator(to_float(train_split.images[:2]))
    layers = [layer for layer in variant.discriminator.children() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 5
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item() == pytest.approx(1, rel=0.02)


class TestConditional:
    """The digit is part of the latent vector."""

    @pytest.fixture
    def variant(self, workspace: object, train_split: Split) -> Any:
        torch.manual_seed(0)
        made = variant_of("cr3gan").eval()
        made.see([to_float(train_split.images[:500])])
        return made

    def test_the_first_entry_says_the_digit_and_no_more(self, variant: Any) -> None:
        generator = variant.drawn
        assert isinstance(generator, Conditional)
        latents = torch.randn(2, 100)
        for digit in range(10):
            chosen = generator.of_class(torch.tensor([digit, digit]), latents)
            assert torch.equal(chosen[:, 1:], latents[:, 1:])
            others = chosen.clone()
            others[:, 0] = chosen[1, 0]
            assert torch.equal(variant.drawn(chosen), variant.drawn(others))
            assert torch.equal(variant.drawn.labels(chosen), torch.tensor([digit, digit]))

    def test_digits_come_as_often_as_they_were_seen(self, variant: Any, train_split: Split) -> None:
        labels = train_split.labels[:2000].long()
        variant.generator.seen += torch.bincount(labels, minlength=10)
        drawn = variant.generator.labels(torch.randn(200_000, 100, generator=torch.Generator().manual_seed(0)))
        shares = torch.bincount(drawn, minlength=10) / len(drawn)
        torch.testing.assert_close(shares, torch.bincount(labels, minlength=10) / len(labels), rtol=0, atol=0.004)

    def test_a_real_image_is_held_against_a_generated_one_of_its_digit(self, variant: Any, train_split: Split) -> None:
        """The logits of the other digits move no loss."""
        real, digits = to_float(train_split.images[:8]), torch.full((8,), 3)
        losses = []
        for shift in (0.0, 5.0):
            variant.discriminator[-1].bias.data[torch.arange(10) != 3] += shift
            torch.manual_seed(1)
            losses.append([update.loss.item() for update in variant.step(real, digits, penalised=True)])
        assert losses[0] == losses[1]
