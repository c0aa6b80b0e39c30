"""Intervals by simulation: generators whose truth is known, drawn a thousand times."""

from collections import defaultdict

import pytest
import torch
from torch import Tensor

from mnist_gan.data.prepared import Split
from mnist_gan.quality import panel
from mnist_gan.quality.guards import COPYING
from mnist_gan.quality.measures import Nearest
from mnist_gan.quality.panel import Estimate, Measured, Space

DRAWS = 1000
REAL, GENERATED, DIM = 600, 600, 6


def draw(count: int, generator: torch.Generator) -> Tensor:
    """A mixture of ten clouds that is not that of the real features, with a thin tail of copies to come."""
    centres = torch.linspace(-1.2, 1.2, 10)[torch.randint(10, (count,), generator=generator)]
    return centres[:, None] + 0.8 * torch.randn(count, DIM, generator=generator)


@pytest.mark.slow
def test_a_95_percent_interval_holds_the_truth_95_times_in_a_hundred() -> None:
    """The truth is the mean over all draws; of 1,000, 93 to 97% must have it within."""
    random = torch.Generator().manual_seed(0)
    real, training = torch.randn(REAL, DIM, generator=random), torch.randn(3 * REAL, DIM, generator=random)
    space, test = Space.of(real), Split(real, torch.zeros(REAL).int())
    found: dict[str, list[Estimate]] = defaultdict(list)
    for _ in range(DRAWS):
        features = draw(GENERATED, random)
        copied = torch.rand(GENERATED, generator=random) < 0.05
        features[copied] = training[torch.randint(len(training), (int(copied.sum()),), generator=random)]
        for name, estimate in panel.all_measures([features], [space], test)["all"].items():
            found[name].append(estimate)
    check(found)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [GENERATED, 30, 1])
def test_what_is_no_copy_seldom_looks_like_one(kinds: int) -> None:
    """Two sets of one distribution, and what the guard says of a third: all are drawn anew each time.

    The third has all different images, or so few ``kinds`` of them, over and over, as a collapsed generator's. A false
    alarm is one in which the interval lies above that of real images.
    """
    random = torch.Generator().manual_seed(2)
    found: dict[str, list[Estimate]] = defaultdict(list)
    alarms = dict.fromkeys(COPYING, 0)
    for _ in range(DRAWS):
        training, real, features = (draw(count, random) for count in (3 * REAL, REAL, kinds))
        features = features[torch.arange(GENERATED) % kinds]
        own = Nearest.of(training[:GENERATED], training, real, rank=2)
        limit = own.ratio.quantile(panel.TAIL)
        floor, measured = panel.copying(own, limit), panel.copying(Nearest.of(features, training, real), limit)
        found["nearest_in_training"].append(measured["nearest_in_training"])
        for name in COPYING:
            alarms[name] += measured[name].low > floor[name].high
    print(kinds, alarms)
    assert all(count <= 0.025 * DRAWS for count in alarms.values()), alarms
    if kinds == GENERATED:
        check(found)


@pytest.mark.slow
def test_the_spread_between_judges_is_within_the_interval() -> None:
    """Five judges are drawn anew each time: projections of the features that differ by a tenth."""
    random = torch.Generator().manual_seed(1)
    real = torch.randn(REAL, DIM, generator=random)
    found: dict[str, list[Estimate]] = defaultdict(list)
    for _ in range(DRAWS):
        features = draw(GENERATED, random)
        judges = [torch.eye(DIM, 4) + 0.1 * torch.randn(DIM, 4, generator=random) for _ in range(5)]
        spaces = [Space.of(real @ judge) for judge in judges]
        measured: Measured = panel.distances([features @ judge for judge in judges], spaces)
        for name, estimate in measured.items():
            found[name].append(estimate)
    check(found)


def check(found: dict[str, list[Estimate]]) -> None:
    rates = {}
    for name, estimates in found.items():
        truth = sum(estimate.value for estimate in estimates) / len(estimates)
        rates[name] = sum(estimate.low <= truth <= estimate.high for estimate in estimates) / len(estimates)
    print(rates)
    assert all(0.93 <= rate <= 0.97 for rate in rates.values()), rates
