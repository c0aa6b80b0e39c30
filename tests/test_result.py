"""Files are whole or not there, and a generator's file is enough to rebuild it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, run_stage

from mnist_gan import result
from mnist_gan.errors import UserError
from mnist_gan.files import write_atomically
from mnist_gan.networks import build
from mnist_gan.result import Origin

ORIGIN = Origin("dcgan", 20, (1, 16, 16), 3, 705, {"lr": 0.0002}, "0" * 64, {"device": "cpu"})


def test_a_generator_file_rebuilds_the_generator(workspace: Path) -> None:
    generator, _ = build("dcgan", 20, (1, 16, 16))
    generator(torch.randn(8, 20))
    result.write_generator(result.FINAL, generator, ORIGIN)
    again, origin = result.read_generator()
    assert origin == ORIGIN
    latents = torch.randn(4, 20)
    assert torch.equal(again(latents), generator.eval()(latents))


def test_equal_generators_are_equal_files(workspace: Path) -> None:
    generator, _ = build("dcgan", 20, (1, 16, 16))
    for path in (Path("a"), Path("b")):
        result.write_generator(path, generator, ORIGIN)
    result.write_generator(Path("c"), generator.to(memory_format=torch.channels_last), ORIGIN)
    assert Path("a").read_bytes() == Path("b").read_bytes() == Path("c").read_bytes()


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 4096])
@pytest.mark.parametrize("stage", ["render", "evaluate"])
def test_a_damaged_checkpoint_is_one_line(small: Path, stage: str, content: bytes) -> None:
    for path in (result.FINAL, result.checkpoint_path(1)):
        write_atomically(path, content)
    done = run_stage(stage, small)
    assert done.returncode == 1
    assert done.stderr.startswith("error: models/generator/")
    assert "is damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (small / "plots").exists()


def test_a_cut_checkpoint_is_damaged(workspace: Path) -> None:
    generator, _ = build("gan", 20, (1, 16, 16))
    result.write_generator(result.FINAL, generator, ORIGIN)
    whole = result.FINAL.read_bytes()
    result.FINAL.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="is damaged"):
        result.read_generator()


@pytest.mark.parametrize("stage", ["render", "evaluate", "publish"])
def test_a_missing_generator_is_one_line(small: Path, stage: str) -> None:
    done = run_stage(stage, small)
    assert done.returncode == 1
    assert "run `dvc repro train`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_write_that_fails_leaves_the_old_file(workspace: Path) -> None:
    """The kernel refuses files over 4 KiB to a real process, as a full disk would."""
    program = """
import resource, signal
from pathlib import Path
from mnist_gan.errors import run_stage
from mnist_gan.files import write_atomically
def main():
    write_atomically(Path("checkpoint"), b"old")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    write_atomically(Path("checkpoint"), b"new" * 4096)
run_stage(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "error: cannot write checkpoint: File too large; the file is as it was before\n"
    assert Path("checkpoint").read_bytes() == b"old"
    assert {path.name for path in workspace.iterdir()} == {"params.yaml", "checkpoint"}
