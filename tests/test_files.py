"""Files are whole or not there, whenever an interruption comes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from mnist_gan.files import read_tensors, write_atomically, write_csv, write_tensors


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


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses files over 4 KiB to a real process, as a full disk would."""
    program = """
import resource, signal
from pathlib import Path
from mnist_gan.__main__ import run_as_program
from mnist_gan.files import write_atomically
def main():
    write_atomically(Path("checkpoint"), b"old")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    write_atomically(Path("checkpoint"), b"new" * 4096)
run_as_program(main)
"""
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "error: cannot write checkpoint: File too large; the file is as it was before\n"
    assert Path("checkpoint").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


WRITING = """
import sys
from pathlib import Path
import torch
from mnist_gan.files import write_tensors

for at in range(1000):
    write_tensors(Path(sys.argv[1]), {"at": torch.full((1000,), at)}, {"at": at})
"""


def test_a_file_that_another_process_replaces_is_read_as_the_old_one_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "tensors"
    write_tensors(path, {"at": torch.full((1000,), 0)}, {"at": 0})
    seen = set()
    with subprocess.Popen([sys.executable, "-c", WRITING, str(path)]) as writing:
        while writing.poll() is None:
            tensors, about = read_tensors(path)
            assert tensors["at"].unique().tolist() == [about["at"]]
            seen.add(about["at"])
    assert writing.returncode == 0
    assert len(seen) > 1
