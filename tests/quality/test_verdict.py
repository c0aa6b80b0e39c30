"""Verdicts over seeds and crowns: clear cases, unclear ones, broken guards, and what a verdict promises."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from mnist_gan.quality.verdict import contrasts_of, crown, decide, holm, smallest_ratio

SPACES = ("judge", "autoencoder")
ENDS = (("low", 0.95), ("high", 1.05))


def result(judge: float, autoencoder: float | None = None, **others: float) -> dict[str, float]:
    """A result with these distances, intervals of 5% to both sides, and otherwise the measures of real images."""
    made = {f"classes/{digit}": 0.1 for digit in range(10)}
    values = {"coverage": 0.93, "recall": 0.87, "copies": 0.01, "nearest_in_training": 0.86}
    made |= {f"{space}_coverage/{digit}": 0.85 for space, digit in itertools.product(SPACES, range(10))}
    for space, distance in zip(SPACES, (judge, judge if autoencoder is None else autoencoder), strict=True):
        made |= {f"{space}/{name}": value for name, value in values.items()} | {f"{space}/frechet_distance": distance}
    made |= {name.replace("__", "/"): value for name, value in others.items()}
    made |= {f"floor/classes/{digit}": 0.1 for digit in range(10)}
    made |= {f"floor/{space}/{name}": value for space, (name, value) in itertools.product(SPACES, values.items())}
    for name, value in list(made.items()):
        _, part, measure = name.rpartition("floor/")
        made |= {f"{part}interval/{measure}/{end}": value * of for end, of in ENDS}
    return made


def results(judge: Sequence[float], autoencoder: Sequence[float] | None = None) -> list[dict[str, float]]:
    """One a seed."""
    return [result(a, b) for a, b in zip(judge, autoencoder or judge, strict=True)]


def test_a_clear_difference_is_a_verdict() -> None:
    gan, dcgan = [70.0, 80.0, 75.0], [7.0, 8.0, 7.2]
    verdict = decide({"gan": results(gan), "dcgan": results(dcgan)})
    (contrast,) = verdict.contrasts
    assert (contrast.better, contrast.worse, contrast.decided) == ("dcgan", "gan", True)
    ratio = contrast.ratios["judge"]
    assert ratio.low < ratio.value < ratio.high
    assert ratio.value == pytest.approx(stats.gmean(gan) / stats.gmean(dcgan))
    assert contrast.p == ratio.p == stats.ttest_ind(np.log(gan), np.log(dcgan), equal_var=False).pvalue
    # The most extreme of the 20 ways to deal six distances to two sides, and its mirror image.
    assert contrast.permutation_p == pytest.approx(0.1)
    assert verdict.sentence.startswith(
        "dcgan is better: the Fréchet distance of gan is 10.1 times that of dcgan by the judges (95% interval "
    )
    assert "3 and 3 seeds, p = " in verdict.sentence


def test_overlapping_distances_are_no_verdict() -> None:
    said = decide({"gan": results([10.0, 20.0, 15.0]), "dcgan": results([11.0, 18.0, 12.0])}).sentence
    assert said.startswith("The evidence is not enough for a winner: ")


def test_spaces_that_disagree_crown_nobody() -> None:
    near, far = [7.0, 8.0, 7.2], [70.0, 80.0, 75.0]
    said = decide({"gan": results(near, far), "dcgan": results(far, near)}).sentence
    assert said.startswith("There is no winner: the judges put gan before dcgan, the autoencoder the other way round.")


def test_of_several_the_undecided_one_is_named() -> None:
    """The third is far by the judges and near by the autoencoder, beyond doubt: it, not the second, is the reason."""
    a, b = results([10.0, 11.0, 10.5]), results([20.0, 26.0, 22.0])
    c = results([100.0, 110.0, 105.0], [1.0, 1.01, 1.02])
    verdict = decide({"a": a, "b": b, "c": c})
    against = {contrast.worse: contrast for contrast in verdict.contrasts if contrast.better == "a"}
    assert against["b"].decided
    assert against["c"].adjusted_p < against["b"].adjusted_p
    assert verdict.sentence.startswith(
        "There is no winner: the judges put a before c, the autoencoder the other way round"
    )
    assert verdict.sentence.endswith("a is better than b.")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"judge__copies": 0.3}, "it copies: 30.0% of its images"),
        ({"judge__nearest_in_training": 0.99}, "it leans on its training images: for 99.0% of its images"),
        ({"classes__4": 0.002}, "one of its trainings does not draw the 4"),
        ({"autoencoder__recall": 0.97}, "its images are scattered more widely than real ones: recall 0.97"),
    ],
)
def test_a_broken_guard_is_no_verdict(broken: dict[str, float], words: str) -> None:
    good, bad = results([70.0, 80.0, 75.0]), [*results([7.0, 8.0]), result(7.2, **broken)]
    said = decide({"a": bad, "b": good}).sentence
    assert said.startswith(f"There is no winner: a is nearest to the real images by the judges, but {words}")


def test_few_ways_of_writing_are_no_verdict() -> None:
    few = [result(d, autoencoder__coverage=r) for d, r in ((7.0, 0.20), (8.0, 0.21), (7.2, 0.19))]
    many = [result(d, autoencoder__coverage=r) for d, r in ((70.0, 0.80), (80.0, 0.81), (75.0, 0.79))]
    said = decide({"few": few, "many": many}).sentence
    assert "but each of its trainings draws fewer kinds of images than there are: coverage at most 0.210" in said
    assert "against at least 0.790 by the autoencoder" in said


def test_the_unit_of_distance_and_the_order_do_not_matter() -> None:
    gan, dcgan = [70.0, 80.0, 75.0], [7.0, 8.0, 7.2]
    said = decide({"gan": results(gan), "dcgan": results(dcgan)})
    assert decide({"dcgan": results(dcgan), "gan": results(gan)}) == said
    thousand = {"gan": results([1000 * x for x in gan]), "dcgan": results([1000 * x for x in dcgan])}
    assert decide(thousand).sentence == said.sentence


def test_too_few_seeds_are_left_out_by_name() -> None:
    three, other = results([70.0, 80.0, 75.0]), results([7.0, 8.0, 7.2])
    said = decide({"gan": three, "stray": other[:1], "dcgan": other}).sentence
    assert said.startswith("dcgan is better: ")
    assert said.endswith("Left out, as a verdict needs 3 seeds: stray has 1.")
    said = decide({"gan": three, "dcgan": other[:2]}).sentence
    assert said == "There is no verdict: it needs 3 seeds of two configurations; dcgan has 2."
    assert decide({"gan": three}).sentence == "There is nothing to decide: all runs have one configuration."


@pytest.mark.parametrize("odd", [[0.0, 0.0, 0.0], [7.0, 7.0, 7.0], [0.0, 7.0, 8.0]])
def test_distances_that_cannot_be_give_words(odd: list[float]) -> None:
    said = decide({"a": results(odd), "b": results([70.0, 80.0, 75.0])})
    assert said.sentence.startswith("There is no verdict: the distances of a are 0 or all the same")
    assert said.contrasts == []


def test_the_best_of_three_must_beat_both_and_a_third_takes_nothing_away() -> None:
    near = {"a": results([10.0, 11.0, 10.5]), "b": results([10.2, 11.1, 10.8])}
    far = {"c": results([100.0, 110.0, 105.0])}
    said = decide(near | far).sentence
    assert said.startswith("The evidence is not enough for a winner")
    assert said.endswith("a is better than c.")
    apart = near | {"b": results([12.0, 13.3, 12.5])}
    two, three = decide(apart), decide(apart | far)
    assert three.sentence.startswith("a is better: the Fréchet distance of b is 1.2 times that of a")
    assert three.contrasts[0].adjusted_p == pytest.approx(two.contrasts[0].adjusted_p)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9]) == [0.9]


def test_equal_configurations_are_rarely_told_apart() -> None:
    """What 5% promises, over 400 comparisons of three configurations of one distribution, of five seeds each."""
    rng = np.random.default_rng(0)
    wrong = 0
    for draws in rng.lognormal(3, 0.5, (400, 3, 5)):
        distances = {name: {key: list(values) for key in SPACES} for name, values in zip("abc", draws, strict=True)}
        wrong += any(contrast.adjusted_p < 0.05 for contrast in contrasts_of(distances))
    assert wrong / 400 < 0.075


@pytest.mark.parametrize(
    ("spread", "seeds", "ratio"), [(0.05, 3, 1.20), (0.05, 5, 1.12), (0.12, 3, 1.52), (0.12, 5, 1.30)]
)
def test_what_so_many_seeds_can_show(spread: float, seeds: int, ratio: float) -> None:
    assert smallest_ratio(spread, seeds) == pytest.approx(ratio, abs=0.02)


def test_a_crown_needs_both_spaces_and_whole_guards() -> None:
    old = result(5.5)
    assert crown(old, None) == (True, "there was none before")
    assert crown(result(4.5, 4.0), old)[0]
    for new, words in (
        (result(5.2), "the intervals overlap"),
        (result(6.5), "it is worse"),
        (result(4.0, 7.0), "the two disagree, so that neither is better"),
        (result(4.0, 5.4), "the intervals overlap"),
        (result(0.1, judge__copies=1.0), "it copies: 100.0% of its images"),
        (result(0.1, judge__nearest_in_training=0.97), "it leans on its training images: for 97.0% of its images"),
        (result(0.1, classes__7=0.0), "it does not draw the 7, which the present one draws"),
        (result(0.1, autoencoder__recall=0.97), "its images are scattered more widely than real ones: recall 0.97"),
        (
            result(0.1, autoencoder_coverage__4=0.5),
            "it draws fewer kinds of images than there are: coverage of the 4 0.5",
        ),
        (result(0.1, autoencoder__coverage=0.5), "it draws fewer kinds of images than there are: coverage 0.5"),
    ):
        crowned, reason = crown(new, old)
        assert not crowned
        assert words in reason
    assert not crown(result(0.1, autoencoder__copies=0.5), None)[0]
    assert crown(result(0.1, judge__recall=0.97), old)[0]


def test_too_few_real_images_decide_nothing() -> None:
    few = {"data__test_images": 99.0}
    assert crown(result(0.1, **few), None) == (
        False,
        "there are too few images to measure: 99 test images, where 100 are the fewest",
    )
    gan, dcgan = ([result(distance, **few) for distance in of] for of in ([70.0, 80.0, 75.0], [7.0, 8.0, 7.2]))
    assert decide({"gan": gan, "dcgan": dcgan}).sentence.startswith("There is no verdict: there are too few images")
