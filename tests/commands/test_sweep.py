"""A sweep decides what to do before it does it."""

import re
import time
from pathlib import Path

import psutil
import pytest
from conftest import copy_store, run_python, start, uri_of
from mlflow import MlflowClient

from mnist_gan.commands.sweep import Trial, decide, outlook
from mnist_gan.config import load
from mnist_gan.tracking.run import TrackedRun

NOWHERE = {"gan": {"device": "none"}, "dcgan": {"device": "none"}}


def trial(name: str) -> Trial:
    return Trial(name, ("train.variant=gan",), f"determinants of {name}", ("gan", "2"))


def test_what_is_published_is_not_trained_again() -> None:
    plan = decide([trial("a"), trial("b")], {"determinants of a"}, {})
    assert (plan.present, plan.missing, plan.queue) == ([trial("a")], [trial("b")], [trial("b")])
    assert plan.forget == []


def test_what_waits_or_runs_is_left_alone() -> None:
    plan = decide([trial("a"), trial("b")], set(), {"a": "Queued", "b": "Running"})
    assert (plan.queue, plan.forget) == ([], [])
    assert plan.missing == [trial("a"), trial("b")]


def test_an_experiment_without_its_run_makes_way() -> None:
    plan = decide([trial("a")], set(), {"a": "Success"})
    assert (plan.forget, plan.queue) == (["a"], [trial("a")])


def test_a_trial_names_all_that_determines_it(workspace: object) -> None:
    params = load()
    trials = [
        Trial.of(params, NOWHERE, "gan", 5, 0),
        Trial.of(params, NOWHERE, "gan", 6, 0),
        Trial.of(params, NOWHERE, "gan", 5, 1),
        Trial.of(params, NOWHERE, "dcgan", 5, 0),
    ]
    assert len({each.determinants for each in trials}) == 4
    assert (
        Trial.of(params, NOWHERE, "gan", 100, 0).determinants == Trial.of(params, NOWHERE, "gan", None, 0).determinants
    )
    one_thread = params.model_copy(update={"train": params.train.model_copy(update={"threads": 1})})
    # Where the machine is the same, what was asked for is no matter.
    assert Trial.of(one_thread, NOWHERE, "gan", 5, 0).determinants == trials[0].determinants
    assert trials[0].name.startswith("gan-5-seed0-")
    assert trials[0].changes == ("train.variant=gan", "train.seed=0", "train.threads=auto", "variants.gan.epochs=5")


BEGUN = """
import subprocess
import time
from mnist_gan.__main__ import run_as_program
from mnist_gan.commands.sweep import alone_here
def work():
    with alone_here():
        # Its own word for it: the kernel shows a program's environment a moment after it has begun.
        begun = subprocess.Popen(["sh", "-c", "echo $$; sleep 600"], stdout=subprocess.PIPE, text=True)
        print(begun.stdout.readline(), end="", flush=True)
        {then}
run_as_program(work)
"""


def test_what_a_sweep_began_ends_with_it_or_when_the_next_begins(workspace: Path) -> None:
    whole = run_python("-c", BEGUN.format(then="pass"), folder=workspace)
    assert not psutil.pid_exists(int(whole.stdout))

    killed = start("-c", BEGUN.format(then="time.sleep(600)"), folder=workspace)
    while not killed.output()[0]:
        time.sleep(0.1)
    left = int(killed.output()[0])
    second = run_python("-c", BEGUN.format(then="pass"), folder=workspace)
    assert second.stderr == "error: another sweep is at work in this checkout: wait for its end, or stop it\n"
    assert psutil.pid_exists(left)
    killed.kill()
    killed.wait()
    assert psutil.pid_exists(left)
    assert run_python("-c", BEGUN.format(then="pass"), folder=workspace).returncode == 0
    assert not psutil.pid_exists(left)


@pytest.mark.parametrize(("name", "sign"), [("w#x?y", "#"), ("Übung", "Ü")])
def test_a_folder_that_dvc_cannot_queue_in_is_said(published: Path, tmp_path: Path, name: str, sign: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    copy_store(published, folder)
    done = run_python("-m", "mnist_gan", "sweep", "--variants", "gan", folder=folder)
    assert done.returncode == 1
    assert done.stderr == f"error: DVC's queue does not work in a folder with {sign} in its path: rename {folder}\n"


def test_before_it_trains_a_sweep_says_what_it_can_show_and_how_long_it_takes(published: Path) -> None:
    client = MlflowClient(uri_of(published))
    runs = [TrackedRun(client, run) for run in client.search_runs(["1"])]
    said = outlook([trial("a"), trial("b")], runs, 5)
    assert re.fullmatch(
        r"2 of 2 trainings to do, about \d+ s of training; 5 of a variant show a ratio of distances of [\d.]+ with 80% "
        r"power, by the spread of 4 runs so far \([\d.e-]+ of the logarithm\)",
        said,
    )
    said = outlook([trial("a"), Trial("b", (), "determinants of b", ("gan", "3"))], runs, 5)
    assert re.match(
        r"2 of 2 trainings to do, about \d+ s of training for 1 of them, and nothing like the others is published; ",
        said,
    )
    assert outlook([trial("a")], [], 5) == (
        "1 of 1 trainings to do; 5 of a variant show a ratio of distances of 1.11 to 1.28 with 80% power, as a rule"
    )
    assert outlook([trial("a")], [], 2).endswith("2 of a variant are too few for a verdict, which needs 3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--variants", "wgan"), "'wgan' is no variant; there are cr3gan, dcgan, gan, nsgan, r3gan, sngan"),
        (("--variants", "gan=0"), "'gan=0' is no variant with its epochs, such as gan=100"),
        (("--variants", "gan", "--seeds", "1.5"), "'1.5' is no seed: a whole number from 0 to 2**63 - 1"),
        (("--variants", "gan", "--seeds", "x"), "'x' is no seed: a whole number from 0 to 2**63 - 1"),
    ],
)
def test_a_mistake_is_said_before_anything_is_queued(workspace: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run_python("-m", "mnist_gan", "sweep", *arguments, folder=workspace)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
