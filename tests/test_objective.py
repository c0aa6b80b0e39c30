"""Our step gives the article's losses from the same weights, noise and images."""

import pytest
import torch
from reference import Training, dropout, no_dropout
from torch import nn

from mnist_gan.config import TrainConfig, Variant, load
from mnist_gan.data import Split
from mnist_gan.engine import Engine
from mnist_gan.images import to_float
from mnist_gan.objective import discriminator_loss, generator_loss

BATCH = 128
"""Rounding grows from step to step, the faster the fewer images a batch has: at 32 it passes 1e-4 in 16 steps."""


@pytest.fixture
def options(workspace: object) -> TrainConfig:
    return load().train.model_copy(update={"device": "cpu", "precision": "float32"})


@pytest.mark.parametrize("variant", ["gan", "dcgan"])
@pytest.mark.parametrize("with_dropout", [True, False])
def test_twenty_steps_equal_the_article(
    options: TrainConfig, train_split: Split, variant: Variant, with_dropout: bool
) -> None:
    engine = Engine(options.model_copy(update={"variant": variant}), train_split.images[: 20 * BATCH])
    if not with_dropout:
        for module in engine.discriminator.modules():
            if isinstance(module, nn.Dropout2d):
                module.eval()
    plain = Training(
        variant,
        list(engine.generator.parameters()),
        list(engine.discriminator.parameters()),
        (1, 32, 32),
        dropout if with_dropout else no_dropout,
    )
    ours, theirs = [], []
    for step in range(20):
        batch = torch.arange(BATCH * step, BATCH * (step + 1))
        latents = torch.randn(BATCH, 100, generator=torch.Generator().manual_seed(step))
        torch.manual_seed(step)
        ours.append(engine.step(engine.prepare(batch), latents))
        torch.manual_seed(step)
        theirs.append(plain.step(to_float(train_split.images[batch]), latents))
    torch.testing.assert_close(torch.stack(ours), torch.tensor(theirs), rtol=1e-4, atol=0)


def test_losses_survive_extreme_logits() -> None:
    sure, wrong = torch.full((4, 1), 500.0), torch.full((4, 1), -500.0)
    assert generator_loss(sure).item() == 0
    assert generator_loss(wrong).item() == 500
    assert discriminator_loss(sure, wrong).item() == 0
    assert discriminator_loss(wrong, sure).item() == 500
