"""How a step meets a GPU, as far as a machine without one can tell: with a stub in place of the graph."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ROOT, engine_of
from torch import Tensor

from mnist_gan.config import VARIANTS
from mnist_gan.data.prepared import read_prepared
from mnist_gan.training import engine as engine_module

BATCH = 64


class EagerGraph:
    """What ``Graph`` does without CUDA: it trains as often before the capture, and then with each call."""

    def __init__(self, train: Callable[[Tensor], Tensor], indices: Tensor) -> None:
        self.train = train
        for _ in range(3):
            train(indices)

    def __call__(self, indices: Tensor) -> Tensor:
        return self.train(indices)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_captured_step_leaves_no_trace_of_its_capture(
    small: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(engine_module, "Graph", EagerGraph)
    images = read_prepared("train").images[: 9 * BATCH + 16]  # ten steps: a penalty's kind comes twice
    plain, captured = (engine_of(name, images, options={"batch_size": BATCH}) for _ in range(2))
    records = []
    for engine, train in (plain, plain.train), (captured, captured._replay):
        torch.manual_seed(0)
        batches = enumerate(plain.order.split(BATCH))
        records.append(torch.stack([train(indices, engine.variant.kind(step)) for step, indices in batches]))
    assert torch.equal(*records)
    assert captured.graphs.keys() == {tuple(captured.variant.kind(step).items()) for step in range(9)}


def gpu_check(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_page_of_a_gpu(small: Path) -> None:
    done = gpu_check(small, "--device", "cpu", "--variants", "cr3gan", "--only", "machine", "steps", "bits")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "## A step" in done.stdout
    assert re.search(r"\| cr3gan \| [\d.]+ \| [\d.]+ \| 0 \| nan% \|", done.stdout)
    assert re.search(
        r"- `cr3gan`, \d+ epochs, twice, and once killed after step [1-9]\d*: all [0-9a-f]{12}", done.stdout
    )


def test_a_section_that_fails_is_said_and_the_others_go_on(small: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a machine without a GPU (this one has one)")
    done = gpu_check(small, "--variants", "gan", "--only", "machine", "steps")
    assert done.returncode == 1
    assert done.stdout.count("**Failed**: UserError: torch cannot use the GPU") == 2
    assert "Traceback" not in done.stderr
