"""The measures, on cases with a known answer and against a kept library."""

import math

import pytest
import torch
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from mnist_gan.data.prepared import Split
from mnist_gan.quality import judge, measures
from mnist_gan.quality.measures import Gaussian, Nearest
from mnist_gan.quality.sight import Eyes


class Features(nn.Module):
    """Hands features through, in the place of an Inception network."""

    num_features = judge.FEATURES

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet(features: Tensor, reference: Tensor) -> Tensor:
    return measures.frechet_distance(features, Gaussian.of(reference))


def infinite(features: Tensor, reference: Tensor) -> Tensor:
    return measures.without_bias(frechet(features, reference))


def kernel(features: Tensor, reference: Tensor) -> Tensor:
    return measures.kernel_distance(features, reference, measures.mean_kernel(reference))


@pytest.fixture(scope="module")
def seen(eyes: Eyes, train_split: Split, test_split: Split) -> tuple[Tensor, Tensor]:
    """The first judge's features of 2,000 training and 1,500 test images."""
    first = eyes.judges[0]
    return judge.features(first, train_split.images[:2000]), judge.features(first, test_split.images[:1500])


def test_frechet_distance_of_gaussians_in_closed_form() -> None:
    torch.manual_seed(0)
    scale = torch.linspace(0.5, 2, 8, dtype=torch.float64)
    wide, narrow = torch.randn(400_000, 8).double() * scale + 1, torch.randn(400_000, 8).double()
    expected = 8 + (scale - 1).square().sum().item()
    assert frechet(wide, narrow)[0].item() == pytest.approx(expected, rel=0.01)


def test_frechet_distance_of_a_set_to_itself_is_zero(seen: tuple[Tensor, Tensor]) -> None:
    features = seen[0]
    assert frechet(features, features)[0].item() == pytest.approx(0, abs=1e-6)


def test_frechet_distance_equals_torchmetrics(seen: tuple[Tensor, Tensor]) -> None:
    ours, theirs = seen[0], seen[1]
    metric = FrechetInceptionDistance(feature=Features(), normalize=True).set_dtype(torch.float64)
    metric.update(theirs.double(), real=True)
    metric.update(ours.double(), real=False)
    assert frechet(ours, theirs)[0].item() == pytest.approx(metric.compute().item(), rel=1e-6)


def test_kernel_distance_equals_torchmetrics(seen: tuple[Tensor, Tensor]) -> None:
    ours, theirs = seen[0][:1500].double(), seen[1].double()
    with pytest.warns(UserWarning, match="memory"):
        metric = KernelInceptionDistance(feature=Features(), subsets=1, subset_size=1500, normalize=True)
    metric.set_dtype(torch.float64)
    metric.update(theirs, real=True)
    metric.update(ours, real=False)
    assert kernel(ours.float(), theirs.float())[0].item() == pytest.approx(metric.compute()[0].item(), abs=2e-6)


def test_kernel_distance_is_unbiased() -> None:
    """The mean over many small pairs of sets of one distribution is zero within its standard error."""
    torch.manual_seed(0)
    draws = torch.tensor([kernel(torch.randn(20, 4), torch.randn(30, 4))[0].item() for _ in range(500)])
    assert abs(draws.mean()) < 3 * draws.std() / math.sqrt(len(draws))


def test_noise_and_a_missing_digit_are_seen(eyes: Eyes, seen: tuple[Tensor, Tensor], train_split: Split) -> None:
    good, real = seen
    nines_missing = good[train_split.labels[:2000] != 9]
    noise = judge.features(eyes.judges[0], torch.randint(256, (500, 1, 32, 32), dtype=torch.uint8))
    floor = frechet(good, real)[0]
    assert floor < frechet(nines_missing, real)[0]
    assert frechet(noise, real)[0] > 50 * floor


def test_histogram_variation_and_score_by_hand() -> None:
    certain = torch.eye(10).repeat(3, 1)
    assert torch.equal(measures.class_histogram(certain)[0], torch.full((10,), 0.1, dtype=torch.float64))
    one_digit = torch.eye(10)[torch.zeros(30, dtype=torch.int64)]
    ones, all_ten = measures.class_histogram(one_digit), measures.class_histogram(certain)
    assert measures.total_variation(ones, all_ten[0])[0].item() == pytest.approx(0.9)
    assert measures.classes_present(all_ten, all_ten[0])[0].item() == 10
    assert measures.classes_present(ones, all_ten[0])[0].item() == 1
    assert measures.classifier_score(certain)[0].item() == pytest.approx(10)
    assert measures.classifier_score(one_digit)[0].item() == pytest.approx(1)
    assert measures.classifier_score(torch.full((20, 10), 0.1))[0].item() == pytest.approx(1)


def test_the_extrapolated_distance_of_one_distribution_is_zero() -> None:
    """At 500 samples the plain distance has a bias of several times what is left."""
    torch.manual_seed(0)
    reference = torch.randn(200_000, 8)
    draws = [torch.randn(500, 8) for _ in range(30)]
    plain = torch.tensor([frechet(draw, reference)[0].item() for draw in draws])
    extrapolated = torch.tensor([infinite(draw, reference)[0].item() for draw in draws])
    assert plain.mean() > 0.05
    assert abs(extrapolated.mean()) < 3 * extrapolated.std() / math.sqrt(len(draws)) < plain.mean()


def test_neighbours_equal_scikit_learn(seen: tuple[Tensor, Tensor]) -> None:
    ours, theirs = seen[0], seen[1]
    known = NearestNeighbors(algorithm="brute").fit(theirs.double().numpy())
    distances, indices = known.kneighbors(ours.double().numpy(), 1)
    found = measures.nearest(ours, theirs)
    assert found[0].numpy() == pytest.approx(distances[:, 0], rel=1e-4)
    assert (found[1].numpy() == indices[:, 0]).all()
    assert measures.neighbours(theirs, 5).sqrt().numpy() == pytest.approx(known.kneighbors(None, 5)[0], rel=1e-4)


def test_neighbourhoods_equal_their_definitions(seen: tuple[Tensor, Tensor]) -> None:
    """Each against the whole table of distances, from scikit-learn."""
    generated, real = seen[0][:700], seen[1][:900]
    found = measures.neighbourhoods(generated, real, measures.neighbours(real, measures.NEIGHBOURS))

    def among(features: Tensor) -> Tensor:
        table = torch.from_numpy(pairwise_distances(features.numpy()))
        return table.fill_diagonal_(torch.inf).sort(dim=1).values

    table, among_real = torch.from_numpy(pairwise_distances(generated.numpy(), real.numpy())), among(real)
    assert found.precision[0] == (table <= among_real[:, 2]).any(dim=1).double().mean()
    assert found.density[0] == pytest.approx((table <= among_real[:, 4]).sum(dim=1).double().mean() / 5)
    for number, (part, rows) in enumerate(zip(generated.split(70), table.split(70), strict=True)):
        assert torch.equal(found.recalled[number], (rows <= among(part)[:, 2:3]).any(dim=0))
        assert torch.equal(found.covered[number], rows.amin(dim=0) <= among_real[:, 49])


def test_a_part_left_out_is_as_if_it_had_never_been(seen: tuple[Tensor, Tensor]) -> None:
    generated, real = seen[0][:700], seen[1][:900]
    reference = measures.neighbours(real, measures.NEIGHBOURS)
    gaussian, own_kernel = Gaussian.of(real), measures.mean_kernel(real)
    every = measures.neighbourhoods(generated, real, reference)
    for number in (0, 4, 9):
        rest = torch.cat([part for i, part in enumerate(generated.tensor_split(measures.PARTS)) if i != number])
        without = measures.neighbourhoods(rest, real, reference)
        for measure, whole in (
            (without.precision, every.precision),
            (without.density, every.density),
            (measures.frechet_distance(rest, gaussian), measures.frechet_distance(generated, gaussian)),
            (measures.kernel_distance(rest, real, own_kernel), measures.kernel_distance(generated, real, own_kernel)),
            (measures.average(rest), measures.average(generated)),
        ):
            torch.testing.assert_close(whole[1 + number], measure[0], rtol=1e-5, atol=1e-5)
    values = torch.rand(500)
    means = torch.stack([part.mean() for part in values.tensor_split(measures.PARTS)])
    torch.testing.assert_close(measures.over_parts(means), measures.average(values))


def test_nearest_of_a_copy_is_its_original(seen: tuple[Tensor, Tensor]) -> None:
    training, test = seen[0], seen[1]
    distances, rows = measures.nearest(training[:100], training)
    assert distances.max() < 0.01
    assert rows.tolist() == list(range(100))
    second = torch.cdist(training[:100].double(), training.double()).fill_diagonal_(torch.inf).min(dim=1)
    distances, rows = measures.nearest(training[:100], training, rank=2)
    torch.testing.assert_close(distances, second.values.float(), rtol=0, atol=0.01)
    assert torch.equal(rows, second.indices)
    assert measures.nearest(test, training)[0].median() > 1


def test_the_nearest_is_a_training_image_or_an_unseen_one(seen: tuple[Tensor, Tensor]) -> None:
    training, unseen, generated = seen[0][:900], seen[1][:800], seen[1][800:1000]
    near = Nearest.of(generated, training, unseen)
    table = torch.cdist(generated.double(), torch.cat([training, unseen]).double())
    first = table.argmin(dim=1)
    assert torch.equal(near.real, first)
    assert torch.equal(near.ratio < 1, first < 900)
    ratio = (table[:, :900].amin(dim=1) / table[:, 900:].amin(dim=1)).float()
    torch.testing.assert_close(near.ratio, ratio, rtol=1e-3, atol=1e-3)


def test_an_image_of_both_sets_is_no_copy() -> None:
    """The same image among the training images and the unseen ones, drawn exactly: 0 / 0."""
    one = torch.zeros(1, 3)
    assert Nearest.of(one, torch.cat([one, one + 1]), one).ratio.tolist() == [1.0]
    assert Nearest.of(one, one, one + 1).ratio.tolist() == [0.0]
    assert Nearest.of(one, one + 1, one).ratio.tolist() == [torch.inf]


def test_images_that_are_alike_count_once() -> None:
    """Of three kinds, as many each, three; of one that is drawn as often as both others, 16 / (4 + 1 + 1)."""
    nothing = torch.zeros(4)
    assert Nearest(torch.zeros(300), torch.zeros(300), torch.arange(300) % 3).independent == pytest.approx(3)
    assert Nearest(nothing, nothing, torch.tensor([5, 5, 7, 9])).independent == pytest.approx(16 / 6)
    assert Nearest(nothing, nothing, torch.tensor([5, 5, 5, 5])).independent == pytest.approx(1)
