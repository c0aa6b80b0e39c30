"""Files are whole or not there, whenever an interruption comes."""

from pathlib import Path

import pytest

from mnist_gan.files import write_atomically, write_csv


@pytest.mark.parametrize("before", [True, False])
def test_an_interruption_around_the_replacement_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if not before:
            replace(self, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == (b"old" if before else b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_step_is_written_whole(tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", ("step", "loss"), [(1_234_567, 0.12345678)])
    assert (tmp_path / "table.csv").read_text() == "step,loss\n1234567,0.123457\n"
