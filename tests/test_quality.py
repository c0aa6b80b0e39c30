"""The measures, on cases with a known answer and against a kept library."""

import math

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from mnist_gan import judge, quality
from mnist_gan.data import Split


class Features(nn.Module):
    """Hands features through, in the place of an Inception network."""

    num_features = judge.FEATURES

    def forward(self, features: Tensor) -> Tensor:
        return features


@pytest.fixture(scope="module")
def opinions(train_split: Split, test_split: Split) -> tuple[judge.Opinion, judge.Opinion]:
    """The committed judge's opinion of 2,000 training and 1,500 test images."""
    referee = judge.read()
    return judge.opinion(referee, train_split.images[:2000]), judge.opinion(referee, test_split.images[:1500])


def test_frechet_distance_of_gaussians_in_closed_form() -> None:
    torch.manual_seed(0)
    scale = torch.linspace(0.5, 2, 8, dtype=torch.float64)
    wide, narrow = torch.randn(400_000, 8).double() * scale + 1, torch.randn(400_000, 8).double()
    expected = 8 + (scale - 1).square().sum().item()
    assert quality.frechet_distance(wide, narrow) == pytest.approx(expected, rel=0.01)


def test_frechet_distance_of_a_set_to_itself_is_zero(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    features = opinions[0].features
    assert quality.frechet_distance(features, features) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_equals_torchmetrics(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    ours, theirs = opinions[0].features, opinions[1].features
    metric = FrechetInceptionDistance(feature=Features(), normalize=True).set_dtype(torch.float64)
    metric.update(theirs.double(), real=True)
    metric.update(ours.double(), real=False)
    assert quality.frechet_distance(ours, theirs) == pytest.approx(metric.compute().item(), rel=1e-6)


def test_kernel_distance_equals_torchmetrics(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    ours, theirs = opinions[0].features[:1500].double(), opinions[1].features.double()
    with pytest.warns(UserWarning, match="memory"):
        metric = KernelInceptionDistance(feature=Features(), subsets=1, subset_size=1500, normalize=True)
    metric.set_dtype(torch.float64)
    metric.update(theirs, real=True)
    metric.update(ours, real=False)
    assert quality.kernel_distance(ours, theirs) == pytest.approx(metric.compute()[0].item(), rel=1e-6)


def test_kernel_distance_is_unbiased() -> None:
    """The mean over many small pairs of sets of one distribution is zero within its standard error."""
    torch.manual_seed(0)
    draws = torch.tensor([quality.kernel_distance(torch.randn(20, 4), torch.randn(30, 4)) for _ in range(2000)])
    assert abs(draws.mean()) < 3 * draws.std() / math.sqrt(len(draws))


def test_noise_and_a_missing_digit_are_seen(opinions: tuple[judge.Opinion, judge.Opinion], train_split: Split) -> None:
    good, real = opinions
    nines_missing = good.features[train_split.labels[:2000] != 9]
    noise = judge.opinion(judge.read(), torch.randint(256, (500, 1, 32, 32), dtype=torch.uint8))
    floor = quality.frechet_distance(good.features, real.features)
    assert floor < quality.frechet_distance(nines_missing, real.features)
    assert quality.frechet_distance(noise.features, real.features) > 50 * floor


def test_histogram_variation_and_score_by_hand() -> None:
    certain = torch.eye(10).repeat(3, 1)
    assert torch.equal(quality.class_histogram(certain), torch.full((10,), 0.1, dtype=torch.float64))
    one_digit = torch.eye(10)[torch.zeros(30, dtype=torch.int64)]
    assert quality.total_variation(
        quality.class_histogram(one_digit), quality.class_histogram(certain)
    ) == pytest.approx(0.9)
    assert quality.classifier_score(certain) == pytest.approx(10)
    assert quality.classifier_score(one_digit) == pytest.approx(1)
    assert quality.classifier_score(torch.full((5, 10), 0.1)) == pytest.approx(1)


def test_the_extrapolated_distance_of_one_distribution_is_zero() -> None:
    """At 500 samples the plain distance has a bias of several times what is left."""
    torch.manual_seed(0)
    reference = torch.randn(200_000, 8)
    draws = [torch.randn(500, 8) for _ in range(30)]
    plain = torch.tensor([quality.frechet_distance(draw, reference) for draw in draws])
    extrapolated = torch.tensor([quality.extrapolated_frechet_distance(draw, reference) for draw in draws])
    assert plain.mean() > 0.05
    assert abs(extrapolated.mean()) < 3 * extrapolated.std() / math.sqrt(len(draws)) < plain.mean()


def test_neighbours_equal_scikit_learn(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    ours, theirs = opinions[0].features, opinions[1].features
    known = NearestNeighbors(algorithm="brute").fit(theirs.double().numpy())
    distances, indices = known.kneighbors(ours.double().numpy(), 1)
    ours_distances, ours_indices = quality.nearest(ours, theirs)
    assert ours_distances.numpy() == pytest.approx(distances[:, 0])
    assert (ours_indices.numpy() == indices[:, 0]).all()
    assert quality.radii(theirs, 5).numpy() == pytest.approx(known.kneighbors(None, 5)[0][:, 4])


def test_neighbourhoods_by_hand() -> None:
    centres, radii = torch.tensor([[0.0], [10.0]]), torch.tensor([2.0, 9.0])
    points = torch.tensor([[0.0], [1.5], [5.0], [30.0]])
    assert quality.neighbourhoods(points, centres, radii).tolist() == [1, 2, 1, 0]


def manifold(features: Tensor, real: Tensor) -> dict[str, float]:
    """Precision, recall, density and coverage from their definitions."""
    inside = quality.neighbourhoods(features, real, quality.radii(real, 5))
    return {
        "precision": (quality.neighbourhoods(features, real, quality.radii(real, 3)) > 0).double().mean().item(),
        "recall": (quality.neighbourhoods(real, features, quality.radii(features, 3)) > 0).double().mean().item(),
        "density": inside.double().mean().item() / 5,
        "coverage": (quality.nearest(real, features)[0] <= quality.radii(real, 5)).double().mean().item(),
    }


def test_a_missing_digit_costs_recall_and_noise_costs_precision(
    opinions: tuple[judge.Opinion, judge.Opinion], train_split: Split
) -> None:
    good, real = opinions[0].features[:1500], opinions[1].features
    floor = manifold(good, real)
    assert min(floor["precision"], floor["recall"]) > 0.8
    assert floor["coverage"] > 0.85
    assert floor["density"] == pytest.approx(1, abs=0.15)
    assert manifold(real, real)["coverage"] == 1

    nines_missing = manifold(good[train_split.labels[:1500] != 9], real)
    assert nines_missing["precision"] > floor["precision"] - 0.03
    assert nines_missing["recall"] < floor["recall"] - 0.03
    assert nines_missing["coverage"] < floor["coverage"] - 0.05

    noise = judge.opinion(judge.read(), torch.randint(256, (500, 1, 32, 32), dtype=torch.uint8)).features
    assert manifold(noise, real)["precision"] < 0.05
    assert manifold(noise, real)["coverage"] < 0.05


def test_copies_of_training_images_lie_nearer_than_test_images(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    training, test = opinions[0].features, opinions[1].features
    copies, indices = quality.nearest(training[:100], training)
    assert copies.max() < 1e-6  # the distances come by a matrix product, which rounds
    assert indices.tolist() == list(range(100))
    assert quality.nearest(test, training)[0].median() > 1
