"""The ruler is what it was made of, in full, when it is read again."""

from pathlib import Path

import pytest
import torch
from conftest import read_split, run_stage

from mnist_gan.errors import UserError
from mnist_gan.quality import ruler
from mnist_gan.quality.ruler import Ruler
from mnist_gan.quality.sight import Eyes


def test_a_ruler_that_is_read_measures_as_the_one_that_was_written(small: Path) -> None:
    look = Eyes()
    test, training = (look(read_split(small, name).images) for name in ("test", "train"))
    made, read = Ruler.of(test, training, ruler.read().made_of), ruler.read()
    blurred = look(read_split(small, "test").images.roll(1, dims=3))
    assert read.report(blurred) == made.report(blurred)
    assert read.follow(blurred) == made.follow(blurred)
    assert read.floor == made.floor


def test_the_floor_is_no_copy_of_what_it_is_compared_with(small: Path) -> None:
    read = ruler.read()
    torch.testing.assert_close(read.validation, read.spaces["judge"].training[-1000:])
    assert read.floor["judge"]["copying"] < 0.9
    assert read.report(Eyes()(read_split(small, "train").images[-1000:]))["judge"]["copying"] > 0.99


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
