"""The measures, on cases with a known answer and against a kept library."""

import math

import pytest
import torch
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from mnist_gan.data.mnist import Split
from mnist_gan.quality import judge, measures


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
    assert measures.frechet_distance(wide, narrow).item() == pytest.approx(expected, rel=0.01)


def test_frechet_distance_of_a_set_to_itself_is_zero(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    features = opinions[0].features
    assert measures.frechet_distance(features, features).item() == pytest.approx(0, abs=1e-6)


def test_frechet_distance_equals_torchmetrics(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    ours, theirs = opinions[0].features, opinions[1].features
    metric = FrechetInceptionDistance(feature=Features(), normalize=True).set_dtype(torch.float64)
    metric.update(theirs.double(), real=True)
    metric.update(ours.double(), real=False)
    assert measures.frechet_distance(ours, theirs).item() == pytest.approx(metric.compute().item(), rel=1e-6)


def test_kernel_distance_equals_torchmetrics(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    ours, theirs = opinions[0].features[:1500].double(), opinions[1].features.double()
    with pytest.warns(UserWarning, match="memory"):
        metric = KernelInceptionDistance(feature=Features(), subsets=1, subset_size=1500, normalize=True)
    metric.set_dtype(torch.float64)
    metric.update(theirs, real=True)
    metric.update(ours, real=False)
    assert measures.kernel_distance(ours, theirs).item() == pytest.approx(metric.compute()[0].item(), rel=1e-6)


def test_kernel_distance_is_unbiased() -> None:
    """The mean over many small pairs of sets of one distribution is zero within its standard error."""
    torch.manual_seed(0)
    draws = torch.tensor([measures.kernel_distance(torch.randn(20, 4), torch.randn(30, 4)).item() for _ in range(2000)])
    assert abs(draws.mean()) < 3 * draws.std() / math.sqrt(len(draws))


def test_noise_and_a_missing_digit_are_seen(opinions: tuple[judge.Opinion, judge.Opinion], train_split: Split) -> None:
    good, real = opinions
    nines_missing = good.features[train_split.labels[:2000] != 9]
    noise = judge.opinion(judge.read(), torch.randint(256, (500, 1, 32, 32), dtype=torch.uint8))
    floor = measures.frechet_distance(good.features, real.features).item()
    assert floor < measures.frechet_distance(nines_missing, real.features).item()
    assert measures.frechet_distance(noise.features, real.features).item() > 50 * floor


def test_histogram_variation_and_score_by_hand() -> None:
    certain = torch.eye(10).repeat(3, 1)
    assert torch.equal(measures.class_histogram(certain), torch.full((1, 10), 0.1, dtype=torch.float64))
    one_digit = torch.eye(10)[torch.zeros(30, dtype=torch.int64)]
    assert measures.total_variation(
        measures.class_histogram(one_digit), measures.class_histogram(certain)[0]
    ).item() == pytest.approx(0.9)
    assert measures.classes_present(measures.class_histogram(certain)).item() == 10
    assert measures.classes_present(measures.class_histogram(one_digit)).item() == 1
    assert measures.classifier_score(certain).item() == pytest.approx(10)
    assert measures.classifier_score(one_digit).item() == pytest.approx(1)
    assert measures.classifier_score(torch.full((5, 10), 0.1)).item() == pytest.approx(1)


def infinite_distance(features: Tensor, reference: Tensor, counts: Tensor | None = None) -> Tensor:
    parts = measures.growing_parts(len(features))
    return measures.extrapolate(parts, measures.frechet_distances(features, reference, parts, counts))


def test_the_extrapolated_distance_of_one_distribution_is_zero() -> None:
    """At 500 samples the plain distance has a bias of several times what is left."""
    torch.manual_seed(0)
    reference = torch.randn(200_000, 8)
    draws = [torch.randn(500, 8) for _ in range(30)]
    plain = torch.tensor([measures.frechet_distance(draw, reference).item() for draw in draws])
    extrapolated = torch.tensor([infinite_distance(draw, reference).item() for draw in draws])
    assert plain.mean() > 0.05
    assert abs(extrapolated.mean()) < 3 * extrapolated.std() / math.sqrt(len(draws)) < plain.mean()


def test_neighbours_equal_scikit_learn(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    ours, theirs = opinions[0].features, opinions[1].features
    known = NearestNeighbors(algorithm="brute").fit(theirs.double().numpy())
    distances, indices = known.kneighbors(ours.double().numpy(), 1)
    ours_distances, ours_indices = measures.nearest(ours, theirs)
    assert ours_distances.numpy() == pytest.approx(distances[:, 0])
    assert (ours_indices.numpy() == indices[:, 0]).all()
    assert measures.neighbour_distances(theirs, 5).numpy() == pytest.approx(known.kneighbors(None, 5)[0])


def test_neighbourhoods_equal_their_definitions(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    """Each against the whole table of distances, from scikit-learn."""
    generated, real = opinions[0].features[:700].double(), opinions[1].features[:900].double()
    found = measures.neighbourhoods(generated, real, measures.neighbour_distances(real, 5))
    table = torch.from_numpy(pairwise_distances(generated.numpy(), real.numpy()))
    among_real, among_generated = (
        torch.from_numpy(pairwise_distances(x.numpy())).fill_diagonal_(torch.inf).sort(dim=1).values
        for x in (real, generated)
    )
    assert torch.equal(found.precise, (table <= among_real[:, 2]).any(dim=1))
    assert torch.equal(found.recalled, (table <= among_generated[:, 2:3]).any(dim=0))
    assert torch.equal(found.density, (table <= among_real[:, 4]).sum(dim=1) / 5)
    assert torch.equal(found.covered, table.amin(dim=0) <= among_real[:, 4])
    assert torch.equal(found.known_generated, among_generated[:, 0] < table.amin(dim=1))
    assert torch.equal(found.known_real, among_real[:, 0] < table.amin(dim=0))


def test_neighbourhoods_by_hand() -> None:
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [100.0]])
    generated = torch.tensor([[2.5], [50.0], [51.0], [52.0]])
    found = measures.neighbourhoods(generated, real, measures.neighbour_distances(real, 5))
    assert found.precise.tolist() == [True, True, True, True]  # 100 is far from all others: its ball is wide
    assert found.recalled.tolist() == [True] * 7  # of four generated, the third nearest is far: their balls are wide
    assert found.known_generated.tolist() == [False, True, True, True]
    assert found.covered.tolist() == [True] * 7


def test_nearest_of_a_copy_is_its_original(opinions: tuple[judge.Opinion, judge.Opinion]) -> None:
    training, test = opinions[0].features, opinions[1].features
    distances, indices = measures.nearest(training[:100], training)
    assert distances.max() < 1e-5  # the distances come by a matrix product, which rounds
    assert indices.tolist() == list(range(100))
    assert measures.nearest(test, training)[0].median() > 1


def test_copying_by_hand() -> None:
    unseen = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert measures.copying(torch.tensor([0.0, 0.5]), unseen).item() == 1
    assert measures.copying(torch.tensor([9.0]), unseen).item() == 0
    assert measures.copying(unseen, unseen).item() == 0.5


def test_resamples_give_the_known_standard_errors() -> None:
    """Of a mean: its textbook error. Of the other measures: the spread over sets that are drawn anew."""
    torch.manual_seed(0)
    counts = measures.resamples(400, 300)
    assert counts.shape == (301, 400)
    assert (counts[0] == 1).all()
    assert (counts.sum(dim=1) == 400).all()
    values = torch.randn(400)
    assert measures.average(values, counts)[0].item() == pytest.approx(values.mean().item(), abs=1e-6)
    assert measures.average(values, counts)[1:].std().item() == pytest.approx(0.05, rel=0.25)

    reference = torch.randn(4000, 6)
    draws = [torch.randn(400, 6) * 1.5 for _ in range(100)]
    for measure in (measures.frechet_distance, measures.kernel_distance, infinite_distance):
        anew = torch.cat([measure(draw, reference) for draw in draws]).std()
        errors = torch.stack([measure(draw, reference, counts[:100])[1:].std() for draw in draws[:4]])
        assert errors.mean().item() == pytest.approx(anew.item(), rel=0.35)
