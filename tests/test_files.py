"""Files are whole or not there, whenever an interruption comes."""

from pathlib import Path

import pytest

from mnist_gan.files import write_atomically


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
