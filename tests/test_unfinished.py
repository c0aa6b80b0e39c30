"""Interrupted trainings, by real processes and real signals."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, run_stage, set_params
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_gan import result, unfinished
from mnist_gan.errors import UserError
from mnist_gan.objective import RECORD
from mnist_gan.result import Origin

EAGER = """
from mnist_gan import unfinished
unfinished.INTERVAL_S = 0.05
from mnist_gan.errors import run_stage
from mnist_gan.stages.train import main
run_stage(main)
"""
"""The train stage, which writes its state twenty times a second."""


def start(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", EAGER],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stderr=subprocess.PIPE,
        text=True,
    )


def hashes(folder: Path) -> dict[str, str]:
    """Every out of the train stage."""
    outs = [*(folder / "models/generator").rglob("*"), folder / "metrics/train.json", folder / "plots/losses.csv"]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in outs if p.is_file()}


def runs(folder: Path) -> tuple[MlflowClient, list[Run]]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return client, client.search_runs(["1"], order_by=["attributes.start_time ASC"])


def train_with_interruptions(folder: Path, kills: int, seed: int) -> None:
    """Start the training again and again, and stop it at random moments by random signals, until it ends."""
    chance = random.Random(seed)
    interrupted = 0
    while True:
        training = start(folder)
        if interrupted < kills:
            wait_until_training(folder, training)
            time.sleep(chance.uniform(0, 0.6))
            training.send_signal(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        _, errors = training.communicate()
        assert "Traceback" not in errors
        if training.returncode == 0:
            break
        assert training.returncode in (-signal.SIGKILL, 130), errors
        interrupted += 1
    assert interrupted == kills


def wait_until_training(folder: Path, training: "subprocess.Popen[str]") -> None:
    """Until the process has written a state."""
    began = time.time()
    while training.poll() is None:
        if any(state.stat().st_mtime > began for state in folder.glob(".unfinished/*/state.safetensors")):
            return
        time.sleep(0.01)


def check_one_whole_run(folder: Path, steps: int) -> None:
    client, (run,) = runs(folder)
    assert run.info.status == "FINISHED"
    for name in [f"train/{name}" for name in RECORD] + ["epoch"]:
        history = client.get_metric_history(run.info.run_id, name)
        assert [metric.step for metric in history] == list(range(1, steps + 1))
    images = [Path(file.path).name for file in client.list_artifacts(run.info.run_id, "images")]
    sampled = [int(name.split("+")[2]) for name in images if name.endswith(".webp")]
    assert len(sampled) == len(set(sampled))


def interrupted_equals_whole(small: Path, variant: str, epochs: int, kills: int) -> None:
    set_params(small, train__variant=variant, train__epochs=epochs, train__checkpoint_interval=7)
    done = run_stage("train", small)
    assert done.returncode == 0, done.stderr
    whole = hashes(small)
    assert len(whole) > 5
    (small / "mlflow.db").rename(small / "whole.db")

    train_with_interruptions(small, kills, seed=epochs)
    assert hashes(small) == whole
    assert list((small / ".unfinished").iterdir()) == []
    check_one_whole_run(small, epochs * 16)


def test_an_interrupted_training_ends_in_the_same_bits(small: Path) -> None:
    interrupted_equals_whole(small, "gan", epochs=60, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "epochs"), [("gan", 400), ("dcgan", 40)])
def test_twenty_interruptions_end_in_the_same_bits(small: Path, variant: str, epochs: int) -> None:
    interrupted_equals_whole(small, variant, epochs, kills=20)


def test_a_second_process_keeps_away(workspace: Path) -> None:
    origin = Origin("gan", 100, (1, 16, 16), 0, 0, {}, "0" * 64, {})
    with unfinished.claim(origin), pytest.raises(UserError, match="another process is at this very training"), \
            unfinished.claim(origin):  # fmt: skip
        pass
    with unfinished.claim(origin):
        pass


def test_a_damaged_state_is_one_line(small: Path) -> None:
    training = start(small)
    wait_until_training(small, training)
    training.kill()
    training.communicate()
    (state,) = small.glob(".unfinished/*/state.safetensors")
    state.write_bytes(b"garbage" * 100)
    done = run_stage("train", small)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {state} is damaged")
    assert "Traceback" not in done.stderr
    assert not result.FINAL.exists()
