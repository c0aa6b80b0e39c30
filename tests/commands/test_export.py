"""A generator leaves the house as a folder that needs nothing of it, with the run's own numbers."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import artifact, copy_store, run_python, uri_of
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from mnist_gan import config
from mnist_gan.commands import export
from mnist_gan.data.images import generate
from mnist_gan.errors import UserError
from mnist_gan.files import flatten
from mnist_gan.quality.panel import Estimate
from mnist_gan.report import summary
from mnist_gan.training import generators
from mnist_gan.variants.cr3gan import Generator, Options

FILES = {
    "README.md", "classes.png", "generator.onnx", "generator.safetensors", "metrics.json", "nearest.png", "play.html",
}  # fmt: skip


@pytest.fixture(scope="module")
def checkout(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    copy_store(published, folder)
    return folder


@pytest.fixture(scope="module")
def run(checkout: Path) -> Run:
    (found,) = MlflowClient(uri_of(checkout)).search_runs(["1"], "attributes.run_name = 'dcgan 3 epochs seed 0'")
    return found


@pytest.fixture(scope="module")
def exported(checkout: Path, run: Run) -> Path:
    folder = checkout / "my dcgan"
    done = run_python("-m", "mnist_gan", "export", str(run.info.run_name), "--to", "my dcgan", folder=checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("dcgan 3 epochs seed 0, generator ")
    return folder


def test_all_is_there_and_is_the_runs(exported: Path, run: Run) -> None:
    assert {path.name for path in exported.iterdir()} == FILES
    for name, there in export.KEPT.items():
        assert (exported / there).read_bytes() == artifact(run, name).read_bytes()
    weights = (exported / "generator.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == run.data.tags["generator.sha256"]


def test_the_network_in_onnx_draws_what_torch_draws(exported: Path) -> None:
    final = generators.read(exported / "generator.safetensors")
    session = onnxruntime.InferenceSession(exported / "generator.onnx")
    for count in (1, 3, 64):
        latents = torch.randn(count, 100)
        (drawn,) = session.run(None, {"latents": latents.numpy()})
        pixels = ((drawn + 1) * 127.5).round().astype(int)
        assert np.abs(pixels - generate(final.generator, latents).numpy()).max() <= 1


def test_the_card_says_what_the_run_says(exported: Path, run: Run) -> None:
    card = (exported / "README.md").read_text()
    quality = flatten(json.loads(artifact(run, "metrics/evaluate.json").read_text()))
    for name, title in summary.headlines(quality).items():
        row = f"| {title} | {Estimate.of(quality, name)} | {Estimate.of(quality, name, 'floor/')} |"
        assert row in card
    assert summary.verdict(quality) in card
    assert summary.drawn(quality) in card
    for name, value in run.data.params.items():
        assert f"| {name} | {value} |" in card
    assert run.data.tags["generator.sha256"] in card
    assert card.startswith("---\n")
    named = set(re.findall(r"`([a-z.]+\.(?:onnx|safetensors|html|json|png))`", card))
    assert named <= FILES


def test_its_ten_lines_draw_without_the_project(exported: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-I", "-c", example], cwd=exported, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    drawn = exported / "drawn.png"
    with Image.open(drawn) as picture:
        assert picture.size == (8 * 16, 8 * 16)
    drawn.unlink()


def test_a_conditional_generator_is_told_by_the_numbers_that_the_card_names() -> None:
    options = Options.model_validate(config.load().variants["cr3gan"])
    generator = Generator(20, (1, 16, 16), options, 3)
    generator.seen += torch.tensor([10, 50, 5])
    told = export.told(generator, ("A", "B", "C"))
    assert list(told) == ["A", "B", "C"]
    assert generator.labels(torch.tensor([[number] for number in told.values()])).tolist() == [0, 1, 2]


def test_what_cannot_be_is_one_line_and_leaves_nothing(checkout: Path, exported: Path) -> None:
    before = sorted(checkout.iterdir())
    for arguments, said in (
        (("dcgan 3 epochs seed 0", "--to", "my dcgan"), "my dcgan exists: give a folder that does not"),
        (("dcgan 3 epochs seed 0", "--to", "no/where"), "no/where: No such file or directory"),
        (("champion", "--to", "new"), "mnist-gan has no champion: `python -m mnist_gan promote` makes one"),
        (("nothing", "--to", "new"), "no published run is named 'nothing'"),
    ):
        done = run_python("-m", "mnist_gan", "export", *arguments, folder=checkout)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert said in done.stderr
    assert sorted(checkout.iterdir()) == before


def test_a_network_that_draws_otherwise_is_not_left(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = generators.read(exported / "generator.safetensors")
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(UserError, match="the network in ONNX draws other images than torch's"):
        export.write_onnx(final, tmp_path / "generator.onnx")


def test_the_champion_is_taken_along(checkout: Path) -> None:
    assert run_python("-m", "mnist_gan", "promote", folder=checkout).returncode == 0
    done = run_python("-m", "mnist_gan", "export", "champion", "--to", "champion", folder=checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (checkout / "champion").iterdir()} == FILES
