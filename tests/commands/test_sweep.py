"""A sweep decides what to do before it does it, and goes on after whatever ends it."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import artifact, copy_store, paste, run_python, set_params, start, uri_of
from dvc.repo import Repo
from mlflow import MlflowClient
from project import SQUARES, Project, reproduced
from ruamel.yaml import YAML

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


@pytest.fixture(scope="module")
def project(small_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return reproduced(tmp_path_factory, small_inputs)


def test_a_sweep_trains_what_is_missing_and_compares(project: Project) -> None:
    sweep = (sys.executable, "-m", "mnist_gan", "sweep", "--variants", "squares=1", "--seeds", "2")
    known = {run.info.run_id for run in project.runs()}
    before = project.run("git", "diff")
    lock = project.folder / "dvc.lock"
    (ruler,) = YAML(typ="safe").load(lock.read_text())["stages"]["ruler"]["outs"]
    head, title, tail = lock.read_text().partition("\n  ruler:\n")
    lock.write_text(head + title + tail.replace(ruler["md5"], f"{'0' * 32}.dir", 1))  # as another machine made it
    output = project.run(*sweep)
    assert re.findall("^real images: |queued$", output, re.MULTILINE) == ["real images: ", "queued"]
    (name,) = re.findall(r"(squares-1-seed2-[0-9a-f]{7}): queued", output)
    (new,) = (run for run in project.runs() if run.info.run_id not in known)
    assert (new.data.tags["dvc.experiment"], new.data.params["train.seed"]) == (name, "2")
    assert new.info.artifact_uri.startswith(project.folder.as_uri())
    assert artifact(new, "plots/samples.png").exists()
    report = (project.folder / "reports/compare.md").read_text()
    assert new.data.tags["generator.sha256"] in report

    shutil.rmtree(project.folder / "reports")
    output = project.run(*sweep)
    assert re.findall(r"(\S+): published already", output) == [name]
    assert "Reproducing experiment" not in output
    assert (project.folder / "reports/compare.md").read_text() == report
    assert len(project.runs()) == len(known) + 1
    assert project.run("git", "diff") == before


def test_a_sweep_trains_what_dvc_has_of_another_number_of_threads(project: Project) -> None:
    """For DVC, which knows a result by its parameters and files, it would be the same training."""
    project.run("env", "OMP_NUM_THREADS=2", "dvc", "exp", "run", "-S", "train.seed=7")
    project.run("git", "checkout", ".")
    project.run("dvc", "checkout")
    sweep = (sys.executable, "-m", "mnist_gan", "sweep", "--variants", "squares=1", "--seeds", "7", "--jobs", "2")
    assert "made in another environment" not in project.run(*sweep)
    threads = [run.data.tags["threads"] for run in project.runs() if run.data.params["train.seed"] == "7"]
    assert sorted(threads) == ["1", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_another_program_stops_goes_on(project: Project, stop: signal.Signals) -> None:
    """Ctrl-C reaches DVC and its workers as well. This one ignores it, as what a script starts in the background."""
    sweep = (sys.executable, "-m", "mnist_gan", "sweep", "--variants", "gan=8", "--seeds", str(stop.value))
    known, states = {run.info.run_id for run in project.runs()}, set(project.folder.glob(".unfinished/*/state*"))
    process = subprocess.Popen(
        ["bash", "-c", f"trap '' INT; exec {shlex.join(sweep)}"],
        cwd=project.folder, env=project.environment, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while not set(project.folder.glob(".unfinished/*/state.safetensors")) - states:
        assert process.poll() is None
        time.sleep(0.1)
    second = subprocess.run(sweep, cwd=project.folder, env=project.environment, capture_output=True, text=True)
    assert second.stderr == "error: another sweep is at work in this checkout: wait for its end, or stop it\n"
    process.send_signal(stop)
    assert process.wait() == (130 if stop == signal.SIGTERM else -stop)
    assert (queue_of(project) == []) == (stop == signal.SIGTERM)
    project.run(*sweep)
    assert queue_of(project) == []
    new = [run for run in project.runs() if run.info.run_id not in known]
    assert [run.info.status for run in new] == ["FINISHED"]


def queue_of(project: Project) -> list[str]:
    """The processes of DVC's queue."""
    every = psutil.process_iter(["cmdline", "cwd"])
    mine = [process.info for process in every if (process.info["cwd"] or "").startswith(str(project.folder))]
    return [shlex.join(info["cmdline"]) for info in mine if {"queue-worker", "--run-all"} & set(info["cmdline"] or ())]


def test_what_is_in_the_way_of_the_queue_is_said(project: Project) -> None:
    imports = "from mnist_gan.__main__ import run_as_program\nfrom mnist_gan.commands import _dvc, sweep"

    def said(call: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", f"{imports}\nrun_as_program({call})"],
            cwd=project.folder, env=project.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1
        return done.stderr

    messages = ".dvc/tmp/exps/celery/broker/in/*.msg"
    before = set(project.folder.glob(messages))  # DVC may leave one to a worker that has ended
    project.run("dvc", "exp", "run", "--queue", "--name", "waits", "-S", "train.seed=9")
    (message,) = set(project.folder.glob(messages)) - before
    with Repo(str(project.folder)).lock:
        words = said('lambda: _dvc.dvc("exp", "remove", "--queue")')
    assert words.startswith("error: DVC is at work in this checkout: wait for its end, or end it")
    message.write_text("{")
    words = said("sweep.experiments")
    assert words.startswith("error: dvc exp show --json: unexpected error - Expecting")
    assert paste(words, project.folder) == "rm -r .dvc/tmp/exps"
    assert "waits" not in project.run("dvc", "exp", "show", "--json")


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["everything", "worker"])
def test_a_killed_sweep_goes_on(project: Project, killed: str) -> None:
    seeds = ("4", "5") if killed == "everything" else ("6", "7")
    sweep = (sys.executable, "-m", "mnist_gan", "sweep", "--variants", "gan=8", "--seeds", *seeds)
    known = {run.info.run_id for run in project.runs()}
    process = subprocess.Popen(
        sweep, cwd=project.folder, env=project.environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not list(project.folder.glob(".unfinished/*/state.safetensors")):
        assert process.poll() is None
        time.sleep(0.1)
    for found in psutil.process_iter(["cwd", "cmdline"]):
        if (found.info["cwd"] or "").startswith(str(project.folder)) and (
            killed == "everything" or "queue-worker" in found.info["cmdline"]
        ):
            found.kill()
    if killed == "everything":
        process.wait()
        project.run(*sweep)
    else:
        assert process.wait() == 0

    # The next sweep would wait for it.
    assert "running" not in [state for _, state in project.experiments()]
    # Two: the killed training went on in its own run.
    new = [run for run in project.runs() if run.info.run_id not in known]
    assert [run.info.status for run in new] == ["FINISHED", "FINISHED"]
    assert (project.folder / "reports/compare.html").exists()


@pytest.mark.slow
def test_a_sweep_leaves_alone_what_runs_in_the_workspace(project: Project) -> None:
    command = ("dvc", "exp", "run", "-S", "train.variant=gan", "-S", "train.seed=21", "-S", "variants.gan.epochs=8")
    process = subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=subprocess.DEVNULL)
    while "running" not in [state for _, state in project.experiments()]:
        assert process.poll() is None
    settled = "from mnist_gan.commands.sweep import settled_experiments\nprint(set(settled_experiments().values()))"
    assert "Running" not in project.run(sys.executable, "-c", settled)
    assert process.wait() == 0
    project.run("git", "checkout", ".")


@pytest.mark.slow
def test_a_sweep_that_fails_says_what_shows_why(project: Project) -> None:
    broken = SQUARES.replace(
        "def step(self, real):", "def step(self, real):\n        raise OSError('the disk is full')"
    )
    (project.folder / "src/mnist_gan/variants/broken.py").write_text(broken)
    squares = YAML(typ="safe").load((project.folder / "params.yaml").read_text())["variants"]["squares"]
    set_params(project.folder, variants__broken=squares)
    project.run("git", "add", "src")  # DVC leaves what git does not know
    sweep = subprocess.run(
        [sys.executable, "-m", "mnist_gan", "sweep", "--variants", "broken", "--seeds", "0"],
        cwd=project.folder, env=project.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert sweep.returncode == 1, sweep.stdout + sweep.stderr
    (line,) = [line for line in sweep.stderr.splitlines() if "dvc queue logs" in line]
    typed = paste(line, project.folder)
    assert "the disk is full" in project.run(*shlex.split(typed))
    project.run("git", "reset", "--quiet", "--hard")


SHARING = """
from mnist_gan.commands._dvc import dvc
from mnist_gan.commands.sweep import run_queue, settled_experiments

def queue(name):
    dvc("exp", "run", "--queue", "--name", name, "-S", "train.seed=12", "-S", f"render.columns={name[-1]}")

queue("columns-5")
queue("columns-6")
while not run_queue(2):  # DVC's worker died, as it does now and then
    states = settled_experiments()
    for name in ("columns-5", "columns-6"):
        if states[name] == "Failed":
            queue(name)
"""


@pytest.mark.slow
def test_queued_experiments_share_a_training(project: Project) -> None:
    """Two with other pictures and one training, at once."""
    known = {run.info.run_id for run in project.runs()}
    project.run(sys.executable, "-c", SHARING)
    (new,) = (run for run in project.runs() if run.info.run_id not in known)
    assert new.info.status == "FINISHED"
    assert {("columns-5", "success"), ("columns-6", "success")} <= project.experiments()
