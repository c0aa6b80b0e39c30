"""Verdicts over seeds: clear cases, unclear ones, and what the intervals promise."""

import numpy as np
import pytest
from scipy import stats

from mnist_gan.quality.verdict import contrasts, sentence


def test_a_clear_difference_is_a_verdict() -> None:
    distances = {"gan": [70.0, 80.0, 75.0], "dcgan": [7.0, 8.0, 7.2]}
    (contrast,) = contrasts(distances)
    assert (contrast.better, contrast.worse) == ("dcgan", "gan")
    assert contrast.low < contrast.ratio < contrast.high
    assert contrast.ratio == pytest.approx(stats.gmean(distances["gan"]) / stats.gmean(distances["dcgan"]))
    assert contrast.p == stats.ttest_ind(*map(np.log, distances.values()), equal_var=False).pvalue
    # The most extreme of the 20 ways to deal six distances to two sides, and its mirror image.
    assert contrast.permutation_p == pytest.approx(0.1)
    said = sentence(distances)
    assert said.startswith("dcgan is better: the Fréchet distance of gan is 10.1 times that of dcgan (95% interval ")
    assert "Welch's t-test on log distances over 3 and 3 seeds, p = " in said


def test_overlapping_distances_are_no_verdict() -> None:
    said = sentence({"gan": [10.0, 20.0, 15.0], "dcgan": [11.0, 18.0, 12.0]})
    assert said.startswith("The evidence is not enough for a verdict: ")
    assert "with 1 in the 95% interval" in said


def test_the_unit_of_distance_does_not_matter() -> None:
    distances = {"gan": [70.0, 80.0], "dcgan": [7.0, 8.0]}
    assert sentence(distances) == sentence({name: [1000 * value for value in of] for name, of in distances.items()})


def test_one_seed_and_one_configuration_decide_nothing() -> None:
    assert "gan was trained with one seed alone" in sentence({"gan": [70.0], "dcgan": [7.0, 8.0]})
    assert sentence({"gan": [70.0, 71.0]}) == "There is nothing to decide: all runs have one configuration."


def test_the_best_of_three_must_beat_both() -> None:
    near = {"a": [10.0, 11.0, 10.5], "b": [10.2, 11.1, 10.8], "c": [100.0, 110.0, 105.0]}
    assert sentence(near).startswith("The evidence is not enough")
    apart = near | {"b": [30.0, 31.0, 30.5]}
    assert sentence(apart).startswith("a is better: the Fréchet distance of b is 2.91 times that of a")
    assert "one of 3 pairs" in sentence(apart)


def test_equal_configurations_are_rarely_told_apart() -> None:
    """The promise of a 95% interval, over 400 comparisons of three seeds with three of one distribution."""
    rng = np.random.default_rng(0)
    draws = rng.lognormal(3, 0.5, (400, 2, 3))
    wrong = sum("is better" in sentence({"a": list(a), "b": list(b)}) for a, b in draws)
    assert wrong / 400 < 0.08
