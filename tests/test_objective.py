"""Our step gives the article's losses from the same weights, noise and images."""

import pytest
import torch
from reference import Training, dropout, no_dropout
from torch import Tensor, nn
from torch.optim import Adam

from mnist_gan.config import TrainConfig, Variant, load
from mnist_gan.data import Split
from mnist_gan.engine import Engine
from mnist_gan.images import to_float
from mnist_gan.networks import build
from mnist_gan.objective import AdversarialStep, discriminator_loss, generator_loss

BATCH = 16


@pytest.fixture
def options(workspace: object) -> TrainConfig:
    return load().train.model_copy(update={"device": "cpu", "precision": "float32"})


@pytest.mark.parametrize(
    ("variant", "steps"),
    # Adam makes a full step of a gradient that is nothing but rounding, so that two float32 trainings part by a
    # factor of about 1.6 a step: DCGAN's pass 1e-4 near step 16. The test in float64 holds to the end.
    [("gan", 20), ("dcgan", 10)],
)
@pytest.mark.parametrize("with_dropout", [True, False])
def test_the_engines_steps_equal_the_article_in_float32(
    options: TrainConfig, train_split: Split, variant: Variant, steps: int, with_dropout: bool
) -> None:
    engine = Engine(options.model_copy(update={"variant": variant}), train_split.images[: steps * BATCH])
    ours, theirs = both(engine.step, train_split, variant, steps, with_dropout, torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)


@pytest.mark.parametrize("variant", ["gan", "dcgan"])
@pytest.mark.parametrize("with_dropout", [True, False])
def test_steps_equal_the_article_in_float64(train_split: Split, variant: Variant, with_dropout: bool) -> None:
    torch.manual_seed(0)
    generator, discriminator = (network.double() for network in build(variant, 100, (1, 32, 32)))
    adams = (Adam(network.parameters(), lr=0.0002, betas=(0.5, 0.999)) for network in (generator, discriminator))
    step = AdversarialStep(generator, discriminator, *adams)
    ours, theirs = both(step, train_split, variant, 20, with_dropout, torch.float64)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)


def both(
    step: AdversarialStep, split: Split, variant: Variant, steps: int, with_dropout: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The records ``[steps, 4]`` of our step and of the article's from the same weights, images and noise."""
    if not with_dropout:
        for module in step.discriminator.modules():
            if isinstance(module, nn.Dropout2d):
                module.eval()
    plain = Training(
        variant,
        list(step.generator.parameters()),
        list(step.discriminator.parameters()),
        (1, 32, 32),
        dropout if with_dropout else no_dropout,
    )
    ours, theirs = [], []
    for i in range(steps):
        real = to_float(split.images[BATCH * i : BATCH * (i + 1)]).to(dtype)
        latents = torch.randn(BATCH, 100, dtype=dtype, generator=torch.Generator().manual_seed(i))
        torch.manual_seed(i)
        ours.append(step(real.contiguous(memory_format=torch.channels_last), latents))
        torch.manual_seed(i)
        theirs.append(plain.step(real, latents))
    return torch.stack(ours), torch.tensor(theirs, dtype=dtype)


def test_losses_survive_extreme_logits() -> None:
    sure, wrong = torch.full((4, 1), 500.0), torch.full((4, 1), -500.0)
    assert generator_loss(sure).item() == 0
    assert generator_loss(wrong).item() == 500
    assert discriminator_loss(sure, wrong).item() == 0
    assert discriminator_loss(wrong, sure).item() == 500
