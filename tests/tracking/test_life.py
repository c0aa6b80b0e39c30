"""The life of a training, as people treat it: stopped, killed, started twice, left behind; by real signals."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import MEASURED, ROOT, run_python, run_stage, set_params, start, uri_of, wait_for_a_checkpoint
from forked import Program
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_gan.files import sha256
from mnist_gan.training import generators

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}
STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def runs(folder: Path) -> list[Run]:
    client = MlflowClient(uri_of(folder))
    return list(client.search_runs(["1"], order_by=["attributes.start_time ASC"]))


def long_training(folder: Path) -> Program:
    """A training that would take long, after its first checkpoint."""
    set_params(folder, variants__gan__epochs=50_000)
    process = start(folder=folder)
    wait_for_a_checkpoint(folder, process)
    return process


def catches(pid: int, kind: signal.Signals) -> bool:
    """Whether the process has set a handler for the signal: Python itself catches SIGINT alone."""
    mask = re.search(r"SigCgt:\t(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(mask and int(mask[1], 16) >> (kind - 1) & 1)


@pytest.mark.parametrize("kind", [*STOPS, signal.SIGKILL])
def test_a_stop_in_the_first_seconds_costs_nothing(small: Path, kind: signal.Signals) -> None:
    """From the moment that Python has read the program, through the making of the store, to the first steps."""
    set_params(small, variants__gan__epochs=50_000)
    for delay in (0, 1.5, 3.5, 5):
        process = subprocess.Popen(
            [sys.executable, "-m", "mnist_gan", "train"], cwd=small, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
        )
        while not catches(process.pid, signal.SIGTERM):
            assert process.poll() is None
        time.sleep(delay)
        process.send_signal(kind)
        _, errors = process.communicate(timeout=120)
        assert "Traceback" not in errors
        if kind != signal.SIGKILL:
            assert process.returncode == 130, errors
            assert errors.splitlines()[-1] == "interrupted"
            assert not (small / "mlflow.db").exists() or {run.info.status for run in runs(small)} <= {"KILLED"}
    set_params(small, variants__gan__epochs=1)
    done = run_stage("train", small)
    assert done.returncode == 0, done.stderr
    states = [run.info.status for run in runs(small)]
    assert states in (["SCHEDULED"], ["KILLED", "SCHEDULED"])


@pytest.mark.parametrize("stop", STOPS)
def test_a_stopped_training_is_killed_in_mlflow(small: Path, stop: signal.Signals) -> None:
    process = long_training(small)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    (run,) = runs(small)
    assert run.info.status == "KILLED"


STOPPED_BY = """
import os, signal, sqlite3, weakref
from mnist_gan.__main__ import run_as_program
from mnist_gan.stages import train
def stop(*gone):
    os.kill(os.getpid(), signal.SIGTERM)
def while_an_object_is_destroyed():
    something = type("Something", (), {{}})()
    reference = weakref.ref(something, stop)
    del something
def while_sqlite_calls_python():
    database = sqlite3.connect(":memory:")
    database.create_function("stop", 0, stop)
    database.execute("select stop()")
def patched(*arguments, function=train.{place}):
    {kind}()
    return function(*arguments)
train.{place} = patched
run_as_program(train.main)
"""
"""A stop that does not come out of a library as KeyboardInterrupt: Python drops it, or it becomes another error."""


@pytest.mark.parametrize(
    ("kind", "place", "states"),
    [
        ("while_an_object_is_destroyed", "connect", ["KILLED"]),  # noticed at the next step
        ("while_an_object_is_destroyed", "progress", ["KILLED"]),
        ("while_sqlite_calls_python", "connect", []),
        ("while_sqlite_calls_python", "progress", ["KILLED"]),
    ],
)
def test_a_stop_that_a_library_does_not_hand_on_is_a_stop(
    small: Path, kind: str, place: str, states: list[str]
) -> None:
    """Before the run is there, and within it."""
    set_params(small, variants__gan__epochs=50_000)
    done = run_python("-c", STOPPED_BY.format(kind=kind, place=place), folder=small)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in done.stderr
    assert [run.info.status for run in (runs(small) if (small / "mlflow.db").exists() else [])] == states


def test_a_run_left_running_is_put_right_by_the_next_start(small: Path) -> None:
    process = long_training(small)
    (run,) = runs(small)
    assert run.info.status == "RUNNING"
    process.kill()
    process.communicate()
    (run,) = runs(small)
    assert run.info.status == "RUNNING"
    assert run.inputs
    assert [data.dataset.name for data in run.inputs.dataset_inputs] == ["mnist-train"]
    set_params(small, variants__gan__epochs=1)
    assert run_stage("train", small).returncode == 0
    killed, finished = runs(small)
    assert (killed.info.status, finished.info.status) == ("KILLED", "SCHEDULED")
    assert finished.data.tags["state"] == "trained, not published: `dvc repro` completes it"


def test_a_run_that_is_taken_up_is_described_once(small: Path) -> None:
    for _ in range(2):
        process = long_training(small)
        process.terminate()
        process.communicate()
    (run,) = runs(small)
    assert run.info.status == "KILLED"
    assert run.data.params["train.variant"] == "gan"
    assert run.inputs
    assert [data.dataset.name for data in run.inputs.dataset_inputs] == ["mnist-train"]


def test_a_second_stop_changes_nothing_and_a_third_ends_at_once(small: Path) -> None:
    process = long_training(small)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    (run,) = runs(small)
    assert run.info.status == "KILLED"


def test_two_first_starts_at_once_both_run(small: Path) -> None:
    (small / "mlflow.db").unlink()
    processes = []
    for seed in (0, 1):
        set_params(small, train__seed=seed)
        processes.append(start(folder=small))
        time.sleep(0.4)  # it has read params.yaml after its imports
        while not processes[-1].poll() and not list(small.glob("mlflow.db*")) and not seed:
            time.sleep(0.01)
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert {run.data.params["train.seed"] for run in runs(small)} == {"0", "1"}


def test_who_comes_second_waits_and_takes_the_result(small: Path) -> None:
    set_params(small, variants__gan__epochs=60)
    first = start(folder=small)
    wait_for_a_checkpoint(small, first)
    second = start(folder=small)
    said, errors = second.communicate()
    first.communicate()
    assert first.returncode == second.returncode == 0, errors
    assert "another process is at this very training: waiting until it ends" in said
    assert "gan is trained already" in errors
    assert len(runs(small)) == 1


def test_a_finished_training_is_taken_as_it_is(small: Path) -> None:
    """Whatever became of what it had put in place: in the same run, without a step."""
    assert run_stage("train", small).returncode == 0
    before = sha256(generators.FINAL.read_bytes())
    shutil.rmtree(small / "models/generator")
    for path in ("metrics/train.json", "plots/losses.csv"):
        (small / path).unlink()
    done = run_stage("train", small)
    assert done.returncode == 0
    assert "gan is trained already: the result that waits in" in done.stderr
    assert sha256(generators.FINAL.read_bytes()) == before
    taken = (small / "metrics/train.json").stat().st_mtime
    assert run_python("-c", MEASURED, folder=small).returncode == 0
    assert run_stage("publish", small).returncode == 0
    (run,) = runs(small)
    assert run.info.status == "FINISHED"
    assert list(small.glob(".unfinished/*/training.json")) == []
    # The end is that of the training, not of what came after.
    assert run.info.end_time / 1000 < taken


def test_what_a_kill_leaves_of_a_file_is_no_part_of_a_result(small: Path) -> None:
    assert run_stage("train", small).returncode == 0
    (folder,) = small.glob(".unfinished/*/generator")
    expected = sorted(path.name for path in Path("models/generator").rglob("*"))
    (folder / "checkpoints/.epoch-0001.safetensors.part").write_bytes(b"half")
    (folder / ".training.safetensors.part").write_bytes(b"half")
    (small / "models/.generator.new").mkdir()
    (small / "models/.generator.new/left").write_bytes(b"left")
    assert run_stage("train", small).returncode == 0
    assert sorted(path.name for path in Path("models/generator").rglob("*")) == expected
    assert [path.name for path in Path("models").iterdir() if path.name[0] == "."] == [".generator.lock"]


def test_a_full_disk_leaves_the_old_result(small: Path) -> None:
    assert run_stage("train", small).returncode == 0
    old = {path: path.read_bytes() for path in Path("models/generator").rglob("*") if path.is_file()}
    program = """
import resource, signal
from pathlib import Path
from mnist_gan.__main__ import run_as_program
from mnist_gan.training.generators import put_in_place
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
(folder,) = Path(".unfinished").glob("*/generator")
run_as_program(lambda: put_in_place(folder))
"""
    done = run_python("-c", program, folder=small)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write models/generator: ")
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in Path("models/generator").rglob("*") if path.is_file()} == old
    assert [path.name for path in Path("models").iterdir() if path.name[0] == "."] == [".generator.lock"]


@pytest.mark.skipif(os.getuid() != 0, reason="a training in a container (only root may enter namespaces)")
def test_alive_is_who_holds_the_lock_whatever_name_the_machine_has(small: Path) -> None:
    """As a command on the host sees a training in a container."""
    training = long_training(small)
    elsewhere = ("unshare", "--pid", "--fork", "--uts", "sh", "-c", 'hostname other; exec "$0" "$@"')

    def look() -> None:
        done = subprocess.run(
            [*elsewhere, sys.executable, "-m", "mnist_gan", "compare"],
            cwd=small, env=ENVIRONMENT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stderr == "error: no published run to compare: `dvc repro` makes one\n"

    look()
    assert [run.info.status for run in runs(small)] == ["RUNNING"]
    training.kill()
    training.communicate()
    look()
    assert [run.info.status for run in runs(small)] == ["KILLED"]


def test_trainings_that_wait_are_listed_and_removed(small: Path) -> None:
    training = long_training(small)
    said = run_stage("trainings", small).stdout
    (folder,) = (path.parent for path in small.glob(".unfinished/*/training.json"))
    assert said.startswith(f"{folder.name}  a process is at it")
    refused = run_python("-m", "mnist_gan", "trainings", "--remove", folder.name, folder=small)
    assert refused.returncode == 1
    assert "a process is at it; nothing removed" in refused.stderr
    training.terminate()
    training.communicate()
    (line,) = run_stage("trainings", small).stdout.splitlines()
    assert line.startswith(f"{folder.name}  gan, 50000 epochs, seed 0: stopped ")
    assert line.endswith(" MB")
    done = run_python("-m", "mnist_gan", "trainings", "--remove", folder.name, folder=small)
    assert done.stdout == f"{folder.name}: removed\n"
    assert not folder.exists()
    none = run_stage("trainings", small)
    assert (none.stdout, none.stderr) == ("", "")


@pytest.mark.parametrize("kills", [4, pytest.param(25, marks=pytest.mark.slow)])
def test_publishing_that_is_killed_anywhere_is_completed_by_the_next(small: Path, kills: int) -> None:
    assert run_stage("train", small).returncode == 0
    assert run_python("-c", MEASURED, folder=small).returncode == 0
    chance = random.Random(kills)
    for _ in range(kills):
        process = start("-m", "mnist_gan", "publish", folder=small)
        time.sleep(chance.uniform(0.3, 2))
        process.kill()
        process.communicate()
    two = [start("-m", "mnist_gan", "publish", folder=small) for _ in range(2)]
    for process in two:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    (run,) = runs(small)
    assert run.info.status == "FINISHED"
    client = MlflowClient(uri_of(small))
    models = client.search_logged_models(["1"], f"source_run_id = '{run.info.run_id}'")
    assert sorted(str(model.name) for model in models) == ["gan-epoch-0001", "gan-epoch-0002"]
    assert run.outputs
    assert {output.model_id for output in run.outputs.model_outputs} >= {model.model_id for model in models}
    for model in models:
        assert {metric.key for metric in model.metrics or ()} >= {"validation/frechet_distance"}
    assert len(client.get_metric_history(run.info.run_id, "train/loss_g")) == 32
