"""The last lines of `dvc repro` say in words what the numbers mean."""

import json
from pathlib import Path

import pytest
from conftest import RESULT, ROOT, run_python, set_params

from mnist_gan.files import flatten
from mnist_gan.quality.panel import HEADLINES, Estimate
from mnist_gan.report import summary
from mnist_gan.report.progress import duration


@pytest.fixture
def good() -> dict[str, float]:
    """The measures of the floor: what real images get."""
    measured = json.loads((ROOT / "metrics/evaluate.json").read_text())
    floor = measured["floor"]
    return flatten({**floor, "floor": floor, "best": {**floor, "epoch": 6}})


def test_nothing_is_wrong_with_real_images(good: dict[str, float]) -> None:
    assert summary.verdict(good) == ""
    assert summary.drawn(good) == "all ten digits"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes/2": 0.009}, "It has lost a digit: it does not draw the 2."),
        (
            {"classes/2": 0.0, "classes/5": 0.0},
            "It has collapsed: a few images, over and over, with 2 of",
        ),
        ({"judge/precision": 0.0, "autoencoder/precision": 0.005}, "It has learned nothing"),
        ({"judge/precision": 0.0, "autoencoder/precision": 0.5}, ""),
        ({"judge/copies": 0.97, "interval/judge/copies/low": 0.96}, "It copies: 97.0% of its images are nearer to"),
        ({"autoencoder/copies": 0.03, "interval/autoencoder/copies/low": 0.025}, "It copies: 3.0%"),
        ({"autoencoder/copies": 0.015, "interval/autoencoder/copies/low": 0.011}, ""),
        (
            {"judge/nearest_in_training": 0.95, "interval/judge/nearest_in_training/low": 0.94},
            "It leans on its training images: for 95.0% of its images the nearest real one is a training image",
        ),
        (
            {"judge/coverage": 0.01, "autoencoder/coverage": 0.4},
            "It has collapsed: it draws every digit",
        ),
    ],
)
def test_what_is_wrong_is_said(good: dict[str, float], change: dict[str, float], words: str) -> None:
    said = summary.verdict(good | change)
    assert said.startswith(words)
    assert (said == "") == (words == "")


def test_the_block_names_everything_that_a_person_needs(good: dict[str, float]) -> None:
    quality = good | {"classes/2": 0.0, "classes/5": 0.0, "best/epoch": 4}
    said = summary.block(
        quality, "gan, seed 0: 6 epochs in 3 min 5 s", 6, "gan 6 epochs seed 0 (completed)", "http://x"
    )
    for part in (
        "gan, seed 0: 6 epochs in 3 min 5 s",
        "Fréchet distance   0.12",
        " by the judges, 0.3",
        "real images have   0.12",
        "8 of ten digits, not 2 or 5",
        "told from real     in 5",
        "validation chose   epoch 4: 0.12",
        "plots/classes.png",
        "gan 6 epochs seed 0 (completed); `make ui`, then http://x",
    ):
        assert part in said
    assert "validation chose" not in summary.block(good, "", 6, "", "")


def test_of_too_few_images_nothing_is_said_but_that(good: dict[str, float]) -> None:
    few = good | {"data/test_images": 67, "best/epoch": 4, "classes/2": 0.0}
    said = summary.block(few, "gan, seed 0: 6 epochs", 6, "gan 6 epochs seed 0 (completed)", "http://x")
    assert "There are too few images to measure: 67 test images, where 100 are the fewest." in said
    assert "plots/nearest.png" in said
    for part in ("Fréchet", "told from", "draws", "epoch 4"):
        assert part not in said.replace("draws more", "")
    note = summary.note(few, "0123")
    assert "too few images to measure" in note
    assert "nearest.png" in note
    assert "|" not in note
    assert "too few" not in summary.block(good | {"data/test_images": 100}, "", 6, "", "")


@pytest.mark.parametrize(("seconds", "words"), [(45.2, "45 s"), (185, "3 min 5 s"), (4800, "1 h 20 min")])
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("lr", [0.05, 100.0])
def test_a_training_that_goes_wrong_says_so(small: Path, lr: float) -> None:
    """With a learning rate far too large, for real."""
    set_params(small, variants__gan__lr=lr)
    done = run_python("-c", RESULT, folder=small)
    said = done.stdout + done.stderr
    assert "It has learned nothing" in said or "It has collapsed" in said or "is not finite" in said, said
    assert "Traceback" not in said


def test_the_description_has_the_rows_of_the_report(good: dict[str, float]) -> None:
    said = summary.note(good, "1a2b")
    distance = Estimate.of(good, "judge/frechet_distance")
    assert f"| Fréchet distance, judges | {distance} | {distance} |" in said
    assert said.count("\n| ") == len(HEADLINES) + 2
    assert "get-artifact?path=plots/samples.png&run_uuid=1a2b" in said
