"""The whole pipeline under dvc, as a user runs it, on a thousand images of 16 pixels; once on all of MNIST."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from conftest import artifact, imported, paste, set_params, uri_of
from dvc.repo import Repo
from mlflow import MlflowClient
from project import SQUARES, Project
from ruamel.yaml import YAML


def comment(path: Path) -> None:
    """Add a comment to a file of the code."""
    path.write_text(path.read_text() + "# a comment\n")


@pytest.fixture(scope="module")
def project(small_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project after its first ``dvc repro``, committed; what ``prepare`` made is that of ``small_inputs``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        made = Project(tmp_path_factory.mktemp("project") / """a b'c $d "e\"""")
        made.take(small_inputs / "data/prepared")
        made.run("dvc", "repro")
        made.commit("first result")
        yield made


@pytest.mark.slow
def test_one_repro_on_all_of_mnist(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.run("dvc", "repro")
    project.commit("first result")
    test_one_repro_gives_a_judged_and_tracked_generator(project)
    outs = YAML(typ="safe").load(project.lock())["stages"]["prepare"]["outs"]
    project.run("dvc", "repro", "--force", "--single-item", "prepare")
    assert YAML(typ="safe").load(project.lock())["stages"]["prepare"]["outs"] == outs


def test_one_repro_gives_a_judged_and_tracked_generator(project: Project) -> None:
    (run,) = project.runs()
    assert run.info.status == "FINISHED"
    assert (run.data.params["train.variant"], run.data.params["train.width"]) == ("squares", "64")
    assert "train/difference" in run.data.metrics
    assert run.data.tags["mlflow.source.git.dirty"] == "False"
    assert run.data.tags["mlflow.source.git.commit"]
    metrics = json.loads((project.folder / "metrics/evaluate.json").read_text())
    assert metrics["floor"]["judge"]["frechet_distance"] < 3 < metrics["judge"]["frechet_distance"]
    for picture in ("samples", "progression", "interpolation"):
        assert (project.folder / f"plots/{picture}.png").stat().st_size > 1000


def test_a_second_repro_changes_nothing(project: Project) -> None:
    before = project.lock()
    output = project.run("dvc", "repro")
    ran = re.findall(r"Running stage '(\w+)'", output)
    assert ran == ["check", "publish"]
    assert "(up to date)" in output
    assert "Fréchet distance" in output
    assert re.search(r"draws +\S+ of ten digits, not|draws +all ten digits", output)
    assert project.lock() == before
    assert project.run("git", "status", "--porcelain") == ""
    assert len(project.runs()) == 1


def test_what_finds_nothing_to_do_imports_neither_torch_nor_mlflow(project: Project) -> None:
    for stage in ("check", "publish"):
        said, packages = imported(stage, project.folder)
        assert not {"mlflow", "torch"} & packages
        assert ("(up to date)" in said) == (stage == "publish")


def delete_run(project: Project) -> None:
    client = MlflowClient(uri_of(project.folder))
    client.delete_run(project.runs()[-1].info.run_id)


def unfinished(project: Project) -> None:
    folder = project.folder / ".unfinished/0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text("{}")


def picture(project: Project) -> None:
    with (project.folder / "plots/samples.png").open("ab") as file:
        file.write(b"other")


def editor(project: Project) -> None:
    comment(project.folder / "src/mnist_gan/report/summary.py")


@pytest.mark.parametrize(
    ("change", "said"),
    [(unfinished, "up to date"), (editor, "up to date"), (picture, "completed"), (delete_run, "recreated")],
)
def test_what_may_change_a_run_is_looked_at(project: Project, change: Callable[[Project], None], said: str) -> None:
    change(project)
    printed, packages = imported("publish", project.folder)
    assert {"mlflow", "torch"} <= packages
    assert f"({said})" in printed
    shutil.rmtree(project.folder / ".unfinished/0123456789abcdef", ignore_errors=True)
    project.run("git", "checkout", ".")
    project.run("dvc", "checkout")
    project.run(sys.executable, "-m", "mnist_gan", "publish")


@pytest.mark.parametrize(
    ("damaged", "stage", "content"),
    [
        ("params.yaml", "check", None),
        ("models/judges/judge-0.safetensors", "evaluate", b"garbage"),
        ("models/generator/generator.safetensors", "render", b"garbage"),
    ],
)
def test_what_a_message_tells_to_type_restores_the_file(
    project: Project, damaged: str, stage: str, content: bytes | None
) -> None:
    path = project.folder / damaged
    before = path.read_bytes()
    path.unlink()  # a link into DVC's cache stays whole
    if content is not None:
        path.write_bytes(content)
    try:
        paste(project.stage_fails(stage), project.folder)
        assert path.read_bytes() == before
    finally:
        path.unlink()
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("edited", "stale"),
    [
        ("tracking/run.py", set()),
        ("report/summary.py", set()),
        ("report/progress.py", set()),
        ("commands/sweep.py", set()),
        ("variants/gan.py", set()),
        ("variants/squares.py", {"train", "render", "evaluate"}),
        ("training/engine.py", {"train", "render", "evaluate"}),
        ("quality/measures.py", {"ruler", "render", "evaluate"}),
        ("stages/render.py", {"render"}),
        ("stages/prepare.py", {"prepare"}),
    ],
)
def test_a_comment_makes_stale_what_it_can_reach(project: Project, edited: str, stale: set[str]) -> None:
    path = project.folder / "src/mnist_gan" / edited
    before = path.read_text()
    comment(path)
    try:
        assert project.stale() == stale
    finally:
        path.write_text(before)
    assert project.stale() == set()


@pytest.mark.parametrize(("variant", "stale"), [("squares", {"train"}), ("gan", set())])
def test_only_the_selected_variants_section_counts(project: Project, variant: str, stale: set[str]) -> None:
    set_params(project.folder, **{f"variants__{variant}__lr": 0.1})
    assert project.stale() == stale
    project.run("git", "checkout", "params.yaml")


def test_what_python_writes_beside_the_code_changes_nothing(project: Project) -> None:
    written = project.folder / "src/mnist_gan/training/__pycache__/engine.cpython-311.pyc"
    written.parent.mkdir(exist_ok=True)
    written.write_bytes(b"compiled")
    assert project.stale() == set()


def test_a_mistyped_variant_names_the_known_ones(project: Project) -> None:
    params = project.folder / "params.yaml"
    before = params.read_text()
    done = subprocess.run(
        ["dvc", "exp", "run", "-S", "train.variant=dcgn"],
        cwd=project.folder, env=project.environment, capture_output=True, text=True,
    )  # fmt: skip
    # Not by git: after dvc has changed the file to one of the same size, git takes it as unchanged.
    params.write_text(before)
    assert done.returncode != 0
    assert "dcgan, gan, nsgan, r3gan, sngan, squares" in done.stdout + done.stderr, done.stdout + done.stderr


def test_training_again_gives_equal_hashes(project: Project) -> None:
    before = YAML(typ="safe").load(project.lock())["stages"]
    project.run("dvc", "repro", "--force", "--single-item", "train", "render", "evaluate")
    after = YAML(typ="safe").load(project.lock())["stages"]
    outs = {name: stage.get("outs") for name, stage in before.items()}
    assert outs == {name: stage.get("outs") for name, stage in after.items()}
    project.run("git", "checkout", ".")


def test_a_variant_is_one_file_and_one_section_and_a_cached_result_is_a_run_again(project: Project) -> None:
    """The project's own variant beside GAN; back to it, nothing is trained."""
    squares = project.runs()[0]
    output = project.run("dvc", "exp", "run", "--set-param", "train.variant=gan", "--name", "other")
    assert "Running stage 'train'" in output
    assert "gan, seed 0: 1 epoch" in output
    gan = project.runs()[-1]
    assert (gan.info.status, gan.data.params["train.variant"]) == ("FINISHED", "gan")
    assert gan.data.tags["dvc.experiment"] == "other"
    project.run(sys.executable, "-m", "mnist_gan", "compare", "--runs", squares.info.run_id, gan.info.run_id)
    report = (project.folder / "reports/compare.md").read_text()
    assert report.startswith("# squares against gan") or report.startswith("# gan against squares")
    shutil.rmtree(project.folder / "reports")

    (project.folder / "mlflow.db").unlink()
    shutil.rmtree(project.folder / "mlruns")
    output = project.run("dvc", "exp", "run", "--set-param", "train.variant=squares")
    assert "is cached - skipping run" in output
    (again,) = project.runs()
    assert again.info.status == "FINISHED"
    assert again.data.tags["generator.sha256"] == squares.data.tags["generator.sha256"]
    assert again.data.tags["recreated"] == "true"
    assert again.data.params["train.variant"] == "squares"
    assert again.data.metrics["epoch"] == 1
    assert "judge/frechet_distance" in again.data.metrics
    project.run("git", "checkout", ".")


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


@pytest.mark.slow
def test_a_sweep_trains_what_dvc_has_of_another_number_of_threads(project: Project) -> None:
    """For DVC, which knows a result by its parameters and files, it would be the same training."""
    project.run("env", "OMP_NUM_THREADS=2", "dvc", "exp", "run", "-S", "train.seed=7")
    project.run("git", "checkout", ".")
    project.run("dvc", "checkout")
    sweep = (sys.executable, "-m", "mnist_gan", "sweep", "--variants", "squares=1", "--seeds", "7", "--jobs", "2")
    assert "made in another environment" not in project.run(*sweep)
    threads = [run.data.tags["threads"] for run in project.runs() if run.data.params["train.seed"] == "7"]
    assert sorted(threads) == ["1", "2"]


def test_what_is_said_of_a_result_of_another_environment_makes_it_in_this_one(project: Project) -> None:
    """A result of one thread, made again with two."""
    said = project.run("env", "OMP_NUM_THREADS=2", "dvc", "repro").partition("made in another environment")[2]
    assert said.startswith(" (threads 1, here 2); ")
    paste(said.replace("`", "`export OMP_NUM_THREADS=2; ", 1), project.folder)
    assert "made in another environment" not in project.run("env", "OMP_NUM_THREADS=2", "dvc", "repro")
    project.run("git", "checkout", ".")
    project.run("dvc", "checkout")


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


def test_a_start_is_a_file_that_dvc_tracks(project: Project) -> None:
    """So that its result can be made again from git and the DVC remote alone: here, without MLflow."""
    project.run("git", "checkout", ".")
    project.run("dvc", "checkout")
    set_params(project.folder, train__init_from="one-epoch")
    _, copy, _, add, _ = project.stage_fails("check").split("`")
    for typed in (copy, add):
        paste(f"`{typed}`", project.folder)
    project.run("git", "checkout", "params.yaml")
    project.commit("a start")
    for wrong, said in (("gone", "models/starts/gone not found"), ("one-epoch", "one-epoch ended after epoch 1")):
        done = subprocess.run(
            ["dvc", "exp", "run", "-S", f"train.init_from={wrong}"],
            cwd=project.folder, env=project.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert f"error: train.init_from: {said}" in done.stdout + done.stderr, done.stdout + done.stderr
        assert (project.folder / "models/generator/generator.safetensors").exists()
        project.run("git", "checkout", ".")
    changes = ("-S", "train.init_from=one-epoch", "-S", "variants.squares.epochs=2")
    project.run("dvc", "exp", "run", *changes, "train")
    made = (project.folder / "metrics/train.json").read_text()
    project.run("git", "checkout", ".")

    with tempfile.TemporaryDirectory() as folder:
        remote, clone = Path(folder, "remote"), Path(folder, "clone")
        project.run("dvc", "remote", "add", "--default", "--local", "there", str(remote))
        project.run("dvc", "push")
        project.run("git", "clone", "--quiet", str(project.folder), str(clone))
        for command in (
            ("remote", "add", "--default", "--local", "there", str(remote)),
            ("pull", "--allow-missing"),
            ("exp", "run", *changes, "train"),
        ):
            done = subprocess.run(["dvc", *command], cwd=clone, env=project.environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        assert (clone / "metrics/train.json").read_text() == made


@pytest.mark.slow
def test_a_training_whose_dvc_is_killed_is_taken_up(project: Project) -> None:
    set_params(project.folder, train__variant="gan", train__seed=11, variants__gan__epochs=12)
    known = {run.info.run_id for run in project.runs()}
    before = set(project.folder.glob(".unfinished/*/state.safetensors"))
    dvc = subprocess.Popen(["dvc", "repro"], cwd=project.folder, env=project.environment, stdout=subprocess.DEVNULL)
    while set(project.folder.glob(".unfinished/*/state.safetensors")) == before:
        assert dvc.poll() is None
        time.sleep(0.1)
    dvc.kill()
    dvc.wait()
    output = project.run("dvc", "repro")
    assert "waiting until it ends" in output or "is trained already" in output
    (new,) = (run for run in project.runs() if run.info.run_id not in known)
    assert new.info.status == "FINISHED"
    project.run("git", "checkout", ".")


@pytest.mark.slow
def test_what_is_said_of_an_unfinished_training_goes_on_with_it(project: Project) -> None:
    set_params(project.folder, train__variant="gan", train__seed=13, variants__gan__epochs=30)
    before = set(project.folder.glob(".unfinished/*/state.safetensors"))
    training = subprocess.Popen(
        ["dvc", "repro", "train"], cwd=project.folder, env=project.environment | {"OMP_NUM_THREADS": "2"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while set(project.folder.glob(".unfinished/*/state.safetensors")) == before:
        assert training.poll() is None
        time.sleep(0.1)
    os.killpg(training.pid, signal.SIGINT)
    training.wait()
    (state,) = set(project.folder.glob(".unfinished/*/state.safetensors")) - before
    set_params(project.folder, variants__gan__epochs=1, train__precision="bfloat16")
    said = project.run("dvc", "repro", "train")
    typed = paste(said.partition("goes on with it")[0].rpartition("stays: ")[2], project.folder)
    assert typed == "env OMP_NUM_THREADS=2 dvc exp run -S train.precision=auto -S variants.gan.epochs=30"
    assert not state.exists()
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


def test_dvc_shows_what_was_made(project: Project) -> None:
    assert "frechet_distance" in project.run("dvc", "metrics", "show")
    assert "train.variant" in project.run("dvc", "exp", "show", "--csv")
    project.run("dvc", "plots", "show", "--out", "shown")
    page = (project.folder / "shown/index.html").read_text()
    for text in ("optimizer step", "loss (nats)", r"Fr\u00e9chet distance", "samples.png"):
        assert text in page
    shutil.rmtree(project.folder / "shown")
