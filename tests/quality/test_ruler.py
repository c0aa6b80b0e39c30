"""The ruler is what it was made of, in full, when it is read again."""

import math
from pathlib import Path

import pytest
from conftest import read_split, run_stage

from mnist_gan.data.prepared import Split
from mnist_gan.errors import UserError
from mnist_gan.quality import ruler
from mnist_gan.quality.ruler import Ruler
from mnist_gan.quality.sight import Eyes


def test_a_ruler_that_is_read_measures_as_the_one_that_was_written(small: Path) -> None:
    look = Eyes()
    test, training = (read_split(small, name) for name in ("test", "train"))
    read = ruler.read()
    made = Ruler.of(look, test, training, 1000, read.made_of)
    moved = read_split(small, "test").images.roll(1, dims=3)
    assert read.measure(look, moved) == made.measure(look, moved)
    assert read.follow(look(moved)) == made.follow(look(moved))
    assert read.floor == made.floor


def test_the_floor_is_no_copy_of_what_it_is_compared_with(small: Path) -> None:
    read = ruler.read()
    look, images = Eyes(), read_split(small, "train").images[-1000:]
    copied = read.measure(look, images)
    for space in ("judge", "autoencoder"):
        assert read.floor[space]["copies"] == pytest.approx(0.01, abs=0.002)  # of 1,000 images
        assert 0.3 < read.floor[space]["nearest_in_training"] < 0.7  # of 1,024 training and 1,000 unseen images
        assert copied[space]["copies"].value == copied[space]["nearest_in_training"].value == 1


@pytest.mark.parametrize("path", [ruler.TENSORS, ruler.FLOOR])
@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_damaged_ruler_is_one_line(small: Path, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"models/ruler cannot be read .*`dvc repro ruler` makes it"):
        ruler.read()
    path.unlink()
    done = run_stage("evaluate", small)
    assert done.returncode == 1
    assert done.stderr.startswith("error: models/ruler cannot be read")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("tests", [30, 90])
def test_a_ruler_of_very_few_images_gives_numbers(small: Path, tests: int) -> None:
    """They are called too few in words; what can be shown is shown all the same."""
    training, test = read_split(small, "train"), read_split(small, "test")
    few = Split(training.images[: 5 * tests], training.labels[: 5 * tests])
    made = Ruler.of(Eyes(), Split(test.images[:tests], test.labels[:tests]), few, 10_000, "")
    assert made.samples == 5 * tests // 2
    measured = made.measure(Eyes(), training.images[-made.samples :])
    for group, estimates in measured.items():
        for name, estimate in estimates.items():
            assert all(map(math.isfinite, estimate)), (group, name)
