"""The whole pipeline under dvc, as a user runs it, on all of MNIST at 16 pixels."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import ROOT, set_params
from imports import imported_files
from mlflow import MlflowClient
from mlflow.entities import Run

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = list(PIPELINE["stages"])


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_imports_and_params_the_own_section(name: str) -> None:
    stage = PIPELINE["stages"][name]
    assert stage["cmd"] == f"PYTHONPATH=src python -m mnist_gan.stages.{name}"
    code = {path for path in stage["deps"] if path.startswith("src/")}
    assert code == imported_files(f"mnist_gan.stages.{name}")
    assert stage.get("params", []) == ([] if name == "publish" else [name])


def test_packages_hold_no_code() -> None:
    """The check of imports passes over __init__ files."""
    for path in (ROOT / "src").rglob("__init__.py"):
        assert path.read_text().count("\n") == 1


class Project:
    """A copy of the working tree as a git repository of its own, with params for a short pipeline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.splitlines():
            if name != "dvc.lock" and not name.startswith(("metrics/", "plots/")) and (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        set_params(
            folder, download__mirrors=[], prepare__img_size=16, train__variant="gan", train__epochs=1,
            evaluate__samples=1000,
            train__device="cpu",
        )  # fmt: skip
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.name", "Test")
        self.run("git", "config", "user.email", "test@example.org")
        self.commit("start")

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"PATH": path, "PYTHONPATH": "src"}

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def commit(self, message: str) -> None:
        self.run("git", "add", ".")
        self.run("git", "commit", "--quiet", "--message", message)

    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()

    def runs(self) -> list[Run]:
        # A client keeps a database open, also one that was deleted: each look takes a copy of its own.
        copy = self.folder.with_name(f"look-{time.monotonic_ns()}.db")
        shutil.copy(self.folder / "mlflow.db", copy)
        client = MlflowClient(f"sqlite:///{copy}")
        experiment = client.get_experiment_by_name("mnist-gan")
        assert experiment
        return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project after its first ``dvc repro``, committed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        made = Project(tmp_path_factory.mktemp("project"))
        made.run("dvc", "repro")
        made.commit("first result")
        yield made


def test_one_repro_gives_a_judged_and_tracked_generator(project: Project) -> None:
    (run,) = project.runs()
    assert run.info.status == "FINISHED"
    assert run.data.params["train.variant"] == "gan"
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
    assert ran == ["publish"]
    assert "up to date" in output
    assert project.lock() == before
    assert project.run("git", "status", "--porcelain") == ""
    assert len(project.runs()) == 1


def test_training_again_gives_equal_hashes(project: Project) -> None:
    before = yaml.safe_load(project.lock())["stages"]
    project.run("dvc", "repro", "--force", "prepare", "train", "render", "evaluate")
    after = yaml.safe_load(project.lock())["stages"]
    outs = {name: stage.get("outs") for name, stage in before.items()}
    assert outs == {name: stage.get("outs") for name, stage in after.items()}
    project.run("git", "checkout", ".")


def test_a_cached_result_is_a_run_again(project: Project) -> None:
    gan = project.runs()[0].data.tags["generator.sha256"]
    output = project.run("dvc", "exp", "run", "--set-param", "train.variant=dcgan", "--name", "convolutional")
    assert "Running stage 'train'" in output
    dcgan = project.runs()[-1]
    assert dcgan.data.params["train.variant"] == "dcgan"
    assert dcgan.data.tags["dvc.experiment"] == "convolutional"

    (project.folder / "mlflow.db").unlink()
    shutil.rmtree(project.folder / "mlruns")
    output = project.run("dvc", "exp", "run", "--set-param", "train.variant=gan")
    assert "is cached - skipping run" in output
    (again,) = project.runs()
    assert again.info.status == "FINISHED"
    assert again.data.tags["generator.sha256"] == gan
    assert again.data.tags["recreated"] == "true"
    assert again.data.params["train.variant"] == "gan"
    assert again.data.metrics["epoch"] == 1
    assert "judge/frechet_distance" in again.data.metrics


def test_a_sweep_trains_what_is_missing_and_compares(project: Project) -> None:
    sweep = (sys.executable, "-m", "mnist_gan.sweep", "--epochs", "gan=1", "--seeds", "2", "3")
    known = {run.info.run_id for run in project.runs()}
    before = project.run("git", "diff")
    output = project.run(*sweep)
    names = re.findall(r"(gan-1-seed[23]-[0-9a-f]{7}): queued", output)
    assert len(names) == 2
    new = [run for run in project.runs() if run.info.run_id not in known]
    assert {run.data.tags["dvc.experiment"] for run in new} == set(names)
    assert {run.data.params["train.seed"] for run in new} == {"2", "3"}
    for run in new:
        assert run.info.artifact_uri.startswith(str(project.folder))
        assert (Path(run.info.artifact_uri) / "plots/samples.png").exists()
    report = (project.folder / "reports/compare.md").read_text()
    assert all(run.data.tags["generator.sha256"] in report for run in new)

    shutil.rmtree(project.folder / "reports")
    output = project.run(*sweep)
    assert sorted(re.findall(r"(\S+): is there", output)) == sorted(names)
    assert "Reproducing experiment" not in output
    assert (project.folder / "reports/compare.md").read_text() == report
    assert len(project.runs()) == len(known) + 2
    assert project.run("git", "diff") == before


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["everything", "worker"])
def test_a_killed_sweep_goes_on(project: Project, killed: str) -> None:
    seeds = ("4", "5") if killed == "everything" else ("6", "7")
    sweep = (sys.executable, "-m", "mnist_gan.sweep", "--epochs", "gan=8", "--seeds", *seeds)
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

    # Two: the killed training went on in its own run.
    new = [run for run in project.runs() if run.info.run_id not in known]
    assert [run.info.status for run in new] == ["FINISHED", "FINISHED"]
    assert (project.folder / "reports/compare.html").exists()


def test_dvc_shows_what_was_made(project: Project) -> None:
    assert "frechet_distance" in project.run("dvc", "metrics", "show")
    assert "train.variant" in project.run("dvc", "exp", "show", "--csv")
    project.run("dvc", "plots", "show", "--out", "shown")
    page = (project.folder / "shown/index.html").read_text()
    for text in ("optimizer step", "loss (nats)", r"Fr\u00e9chet distance", "samples.png"):
        assert text in page
    shutil.rmtree(project.folder / "shown")
