"""Interrupted trainings, by real processes and real signals."""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from conftest import AS_A_USER, ROOT, paste, run_stage, set_params, start, uri_of
from forked import Program
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_gan.training import generators

EAGER = """
from mnist_gan.training import unfinished
unfinished.INTERVAL_S = 0.05
from mnist_gan.__main__ import run_as_program
from mnist_gan.stages.train import main
run_as_program(main)
"""
"""The train stage, which writes its state twenty times a second."""
RECORDS = {
    "gan": ("loss_g", "loss_d", "d_real", "d_fake"),
    "dcgan": ("loss_g", "loss_d", "d_real", "d_fake"),
    "sngan": ("loss_g", "loss_d", "margin"),
    "cr3gan": ("loss_g", "loss_d", "margin", "penalty"),
}


def hashes(folder: Path) -> dict[str, str]:
    """Every out of the train stage."""
    outs = [*(folder / "models/generator").rglob("*"), folder / "metrics/train.json", folder / "plots/losses.csv"]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in outs if p.is_file()}


def runs(folder: Path) -> tuple[MlflowClient, list[Run]]:
    client = MlflowClient(uri_of(folder))
    return client, client.search_runs(["1"], order_by=["attributes.start_time ASC"])


def train_with_interruptions(folder: Path, kills: int, seed: int) -> None:
    """Start the training again and again, and stop it at random moments by random signals, until it ends."""
    chance = random.Random(seed)
    interrupted = 0
    while True:
        training = start("-c", EAGER, folder=folder, **AS_A_USER)
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


def wait_until_training(folder: Path, training: Program) -> None:
    """Until the process has written a state."""
    began = time.time()
    while training.poll() is None:
        if any(state.stat().st_mtime > began for state in folder.glob(".unfinished/*/state.safetensors")):
            return
        time.sleep(0.01)


def check_one_whole_run(folder: Path, record: tuple[str, ...], steps: int) -> None:
    client, (run,) = runs(folder)
    assert run.info.status == "SCHEDULED"
    for name in [f"train/{name}" for name in record] + ["epoch"]:
        history = client.get_metric_history(run.info.run_id, name)
        assert [metric.step for metric in history] == list(range(1, steps + 1))
    images = [Path(file.path).name for file in client.list_artifacts(run.info.run_id, "images")]
    sampled = [int(name.split("+")[2]) for name in images if name.endswith(".webp")]
    assert len(sampled) == len(set(sampled))


def interrupted_equals_whole(small: Path, variant: str, epochs: int, kills: int) -> None:
    set_params(small, train__variant=variant, train__checkpoints=5, **{f"variants__{variant}__epochs": epochs})
    done = run_stage("train", small, **AS_A_USER)
    assert done.returncode == 0, done.stderr
    whole = hashes(small)
    assert len(whole) > 5
    (small / "mlflow.db").rename(small / "whole.db")
    shutil.rmtree(small / ".unfinished")

    train_with_interruptions(small, kills, seed=epochs)
    assert hashes(small) == whole
    check_one_whole_run(small, RECORDS[variant], epochs * 16)


@pytest.mark.parametrize(("variant", "epochs"), [("gan", 10), ("cr3gan", 5)])
def test_an_interrupted_training_ends_in_the_same_bits(small: Path, variant: str, epochs: int) -> None:
    interrupted_equals_whole(small, variant, epochs, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "epochs"), [("gan", 400), ("dcgan", 40), ("sngan", 50), ("cr3gan", 50)])
def test_twenty_interruptions_end_in_the_same_bits(small: Path, variant: str, epochs: int) -> None:
    interrupted_equals_whole(small, variant, epochs, kills=20)


def interrupt(folder: Path) -> Path:
    """The folder of a training that was killed after some steps."""
    training = start("-c", EAGER, folder=folder)
    wait_until_training(folder, training)
    time.sleep(1)  # the first state is that of step 0
    training.kill()
    training.communicate()
    (state,) = folder.glob(".unfinished/*/state.safetensors")
    return state.parent


def test_a_damaged_state_is_one_line(small: Path) -> None:
    set_params(small, variants__gan__epochs=50)
    state = interrupt(small) / "state.safetensors"
    state.write_bytes(b"garbage" * 100)
    done = run_stage("train", small)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {state.parent} is damaged")
    assert "Traceback" not in done.stderr
    assert not generators.FINAL.exists()
    others = sorted(path.name for path in small.parent.rglob("*") if state.parent not in (path, *path.parents))
    assert paste(done.stderr, small) == f"rm -r .unfinished/{state.parent.name}"
    assert sorted(path.name for path in small.parent.rglob("*")) == others


def test_a_training_that_is_not_taken_up_says_why_and_how(small: Path) -> None:
    """Another parameter, number of threads and precision; with what the message says, it goes on."""
    set_params(small, variants__gan__epochs=400, train__precision="float32")
    folder = interrupt(small)
    set_params(small, variants__gan__epochs=1, train__seed=5)
    done = run_stage("train", small, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    (message,) = [line for line in done.stderr.splitlines() if "is not taken up" in line]
    assert message.startswith("an unfinished gan is not taken up: ")
    threads = torch.get_num_threads()
    assert (f"threads {threads}, here 1" in message) == (threads > 1)
    assert "train.seed 0, here 5, variants.gan.epochs 400, here 1. It stays: " in message
    assert "dvc exp run -S train.seed=0 -S variants.gan.epochs=400` goes on with it, " in message
    assert message.endswith(f"`rm -r .unfinished/{folder.name}` discards it")

    set_params(small, variants__gan__epochs=400, train__seed=0)
    training = start("-c", EAGER, folder=small)
    wait_until_training(small, training)
    training.terminate()
    _, errors = training.communicate()
    assert "going on after step" in errors
    assert "is not taken up" not in errors
    paste(message.partition("goes on with it, ")[2], small)
    assert not folder.exists()


def test_a_precision_comes_back_with_the_parameter_that_it_came_from(small: Path) -> None:
    """Where the parameter is the same, the machines differ, and no command mends that."""
    set_params(small, variants__gan__epochs=400)
    folder = interrupt(small)
    set_params(small, variants__gan__epochs=1, train__precision="bfloat16")
    done = run_stage("train", small)
    assert done.returncode == 0, done.stderr
    (message,) = [line for line in done.stderr.splitlines() if "is not taken up" in line]
    assert ": precision float32, here bfloat16, train.precision auto, here bfloat16, " in message
    assert "stays: `dvc exp run -S train.precision=auto -S variants.gan.epochs=400` goes on with it, " in message

    listed = folder / "training.json"
    theirs = json.loads(listed.read_text())
    theirs["inputs"]["train.precision"] = "bfloat16"
    listed.write_text(json.dumps(theirs))
    set_params(small, variants__gan__epochs=2)
    done = run_stage("train", small)
    (message,) = [line for line in done.stderr.splitlines() if "is not taken up" in line]
    assert "stays: with precision float32, `dvc exp run -S variants.gan.epochs=400` goes on with it, " in message


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_another_variant_or_a_damaged_state_does_not_stand_in_the_way(small: Path, precision: str) -> None:
    """With ``auto``, GAN's precision is another where bfloat16 is fast: the variant brings it back."""
    set_params(small, train__precision=precision, variants__gan__epochs=400)
    folder = interrupt(small)
    set_params(small, train__variant="r3gan", variants__r3gan__epochs=1)
    done = run_stage("train", small)
    assert done.returncode == 0, done.stderr
    (message,) = [line for line in done.stderr.splitlines() if "is not taken up" in line]
    assert (": train.variant gan" in message) or precision == "auto"
    assert "train.variant gan, here r3gan. It stays: `dvc exp run -S train.variant=gan` goes on with it, " in message
    (folder / "training.json").write_bytes(b"garbage")
    done = run_stage("train", small)
    assert done.returncode == 0
    assert f"{folder} is damaged" in done.stderr


def test_a_changed_file_is_named(small: Path) -> None:
    """The code of the variant, edited after the training was interrupted."""
    (small / "src").unlink()
    subprocess.run(["cp", "-r", str(ROOT / "src"), str(small)], check=True)
    set_params(small, variants__gan__epochs=400)
    interrupt(small)
    with (small / "src/mnist_gan/variants/gan.py").open("a") as file:
        file.write("# a comment\n")
    with (small / "src/mnist_gan/tracking/run.py").open("a") as file:
        file.write("# a comment\n")
    set_params(small, variants__gan__epochs=1)
    done = run_stage("train", small)
    (message,) = [line for line in done.stderr.splitlines() if "is not taken up" in line]
    assert "src/mnist_gan/variants/gan.py differs" in message
    assert "tracking" not in message
    assert "It stays: with the files as they were, `dvc exp run -S variants.gan.epochs=400` goes on with it" in message
