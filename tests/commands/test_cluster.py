"""Sweeps on a Ray cluster: two nodes on loopback, MLflow on PostgreSQL, a DVC remote in a folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from conftest import free_port, paste, run_python, set_params
from mlflow import MlflowClient
from pictures import letters, write_folder
from project import Project
from server import Server, used_by_admin

from mnist_gan.commands._cluster import CHECKOUT, Work, bundle, run, working_tree
from mnist_gan.errors import UserError
from mnist_gan.files import read_tensors

UNLUCKY = 7
"""The seed whose training fails."""
RAY = {"RAY_USAGE_STATS_ENABLED": "0"}


@dataclass
class Nodes:
    """A cluster of two nodes."""

    address: str
    second: psutil.Process
    """The raylet of the node that may be lost."""

    def lose_second(self) -> None:
        """All processes of the second node end at once, as those of a machine do whose power fails."""
        kill([self.second, *self.second.children(recursive=True)])


def kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def processes_in(folder: str) -> list[psutil.Process]:
    """Those whose command names ``folder``."""
    every = psutil.process_iter(["cmdline"])
    return [one for one in every if folder in " ".join(one.info["cmdline"] or ())]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    port, folder = free_port(), tempfile.mkdtemp(prefix="ray-")  # a longer name is too long for its sockets
    address = f"127.0.0.1:{port}"
    common = ("--num-gpus=0", "--disable-usage-stats", "--object-store-memory=200000000")
    ray = (str(Path(sys.executable).with_name("ray")), "start", *common)
    environment = os.environ | RAY
    try:
        for more in (
            ("--head", "--num-cpus=2", f"--port={port}", f"--temp-dir={folder}", "--node-ip-address=127.0.0.1"),
            ("--num-cpus=1", f"--address={address}", "--node-ip-address=127.0.0.1"),
        ):
            subprocess.run([*ray, *more], env=environment, check=True, stdout=subprocess.DEVNULL)
        raylets = [one for one in processes_in(folder) if one.name() == "raylet"]
        yield Nodes(address, max(raylets, key=lambda one: one.create_time()))
    finally:
        kill(processes_in(folder))
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Server]:
    with used_by_admin(tmp_path / "team") as server:
        yield server


def make_project(folder: Path, images: Path | None = None) -> Project:
    """A project with a DVC remote whose trainings save their states each second, and in which one seed fails.

    Its images are those of the folder ``images``, else MNIST's.
    """
    folder.mkdir()
    made = Project(folder)
    if images:
        made.run(sys.executable, "-m", "mnist_gan", "data", str(images))
        set_params(folder, judges__epochs=1, autoencoder__epochs=1)
    squares = folder / "src/mnist_gan/variants/squares.py"
    fails = f"if torch.initial_seed() == {UNLUCKY}: raise UserError('seven is unlucky')"
    code = squares.read_text().replace("        fake =", f"        {fails}\n        fake =", 1)
    squares.write_text(f"from mnist_gan.errors import UserError\n{code}")
    unfinished = folder / "src/mnist_gan/training/unfinished.py"
    changed, count = re.subn(r"^INTERVAL_S: float = 30$", "INTERVAL_S: float = 1", unfinished.read_text(), flags=re.M)
    assert count == 1
    unfinished.write_text(changed)
    made.run("dvc", "repro")
    made.commit("short intervals")
    made.run("dvc", "remote", "add", "--default", "folder", str(folder.with_name("remote")))
    return made


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with three files, of which one was changed and one deleted since the commit, and a new one added."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    subprocess.run(["git", "init", "--quiet"], check=True)
    for name in ("kept", "changed", "deleted"):
        Path(name).write_text(f"{name} 1\n")
    subprocess.run(["git", "add", "."], check=True)
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, "commit", "--quiet", "--message", "start"], check=True)
    Path("changed").write_text("changed 2\n")
    Path("deleted").unlink()
    Path("added").write_text("added 1\n")
    subprocess.run(["git", "add", "added"], check=True)
    return folder


def work_of(folder: Path) -> Work:
    """What workers get of the current folder, for a workspace beside ``folder``."""
    commit, tree = working_tree()
    return Work(bundle(tree), str(folder.with_name("workspace")), {"COMMIT": commit})


def test_a_worker_has_the_commit_and_what_was_changed_since(repository: Path) -> None:
    for number in (2, 3):  # the second time in the checkout of the first
        Path("changed").write_text(f"changed {number}\n")
        run(work_of(repository), CHECKOUT, "trial", ())
        checkout = repository.with_name("workspace") / "trial"
        files = {path.name: path.read_text() for path in checkout.iterdir() if path.is_file()}
        assert files == {"kept": "kept 1\n", "changed": f"changed {number}\n", "added": "added 1\n"}
        head, here = (
            subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, check=True).stdout
            for folder in (checkout, repository)
        )
        assert head == here
    assert not subprocess.run(["git", "for-each-ref", "refs/mnist-gan"], capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("script", "message"),
    [("echo error: no disk; echo more; exit 3", "no disk"), ("echo what was last; exit 3", "what was last")],
)
def test_why_a_trial_failed_is_one_line(repository: Path, script: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=rf"^{message}$"):
        run(work_of(repository), script, "trial", ())


def test_code_that_git_does_not_know_is_refused(repository: Path) -> None:
    Path("src").mkdir()
    Path("src/it's new.py").touch()
    with pytest.raises(UserError, match=r"git does not know src/it's new.py") as refused:
        working_tree()
    paste(str(refused.value), Path())
    working_tree()


def test_a_shallow_clone_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, "commit", "--quiet", "--all", "--message", "second"], check=True)
    shallow = repository.with_name("shallow")
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{repository}", str(shallow)], check=True)
    monkeypatch.chdir(shallow)
    with pytest.raises(UserError, match=r"git fetch --unshallow"):
        working_tree()


def test_a_cluster_that_is_not_there_is_one_line(published: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    done = run_python("-m", "mnist_gan", "sweep", "--variants", "gan", "--cluster", address, folder=published)
    assert done.returncode == 1
    assert re.fullmatch(r"error: no Ray cluster at 127.0.0.1:\d+: .*refused\n", done.stderr)


@pytest.mark.slow
def test_a_stop_ends_the_trainings_and_the_same_sweep_goes_on(team: Server, nodes: Nodes, tmp_path: Path) -> None:
    """On images of one's own, which the workers' machines have never seen."""
    project = make_project(tmp_path / "project", write_folder(tmp_path / "letters", letters(780, names="ABC")))
    workspace = tmp_path / "workspace"
    command = [sys.executable, "-m", "mnist_gan", "sweep", "--variants", "squares=9000", "--seeds", "0"]
    command += ["--cluster", nodes.address, "--workspace", str(workspace)]
    with subprocess.Popen(
        command, cwd=project.folder, env=project.environment | RAY, stderr=subprocess.PIPE, text=True
    ) as sweep:
        states = "*/.unfinished/*/state.safetensors"
        while not any(int(read_tensors(one)[0]["steps"]) for one in workspace.glob(states)):
            assert sweep.poll() is None, sweep.communicate()
            time.sleep(0.1)
        sweep.send_signal(signal.SIGINT)
        _, errors = sweep.communicate()
    assert sweep.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    for process in psutil.process_iter(["cwd"]):
        assert not (process.info["cwd"] or "").startswith(str(workspace)), process.cmdline()

    project.run(*command)
    (log,) = workspace.glob("squares-9000-*.log")
    assert "going on after step" in log.read_text()
    runs = MlflowClient(team.uri).search_runs(["1"], "params.`train.epochs` = '9000'")
    assert [(run.info.status, run.data.tags["data"]) for run in runs] == [("FINISHED", "letters")]


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_makes_every_result_once(team: Server, nodes: Nodes, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    workspace = tmp_path / "workspace"
    command = [sys.executable, "-m", "mnist_gan", "sweep", "--variants", "squares=20"]
    command += ["--seeds", *map(str, range(8)), "--cluster", nodes.address, "--workspace", str(workspace)]
    project.run("dvc", "remote", "default", "--unset")
    refused = subprocess.run(command, cwd=project.folder, env=project.environment | RAY, capture_output=True, text=True)
    words = "error: --cluster: DVC has no remote for the results: `dvc remote add --default NAME URL` names one"
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (1, words)
    project.run("dvc", "remote", "default", "folder")
    with subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment | RAY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as sweep:
        begun = None
        while not begun:  # a training of the second node that has a state to go on from
            assert sweep.poll() is None, sweep.communicate()[0]
            time.sleep(0.1)
            for process in nodes.second.children(recursive=True):
                with suppress(psutil.Error):
                    states = Path(process.cwd()).glob(".unfinished/*/state.safetensors")
                    begun = begun or next((one for one in states if int(read_tensors(one)[0]["steps"])), None)
        lost = begun.relative_to(workspace).parts[0]
        nodes.lose_second()
        said, _ = sweep.communicate()
    assert sweep.returncode == 1, said
    assert "Traceback" not in said
    assert "uncommitted, and taken to the workers: .dvc/config" in said
    assert re.search(r"^error: squares-20-seed7-\w{7} failed: .*seven is unlucky", said, re.MULTILINE), said
    assert "0 waiting, 0 running, 7 done, 1 failed" in said

    client = MlflowClient(team.uri)
    (before,) = client.search_runs(["1"], "tags.variant = 'squares'", max_results=1, order_by=["start_time ASC"])
    runs = [run for run in client.search_runs(["1"]) if run.info.run_id != before.info.run_id]
    finished = [run for run in runs if run.info.status == "FINISHED"]
    assert sorted(run.data.params["train.seed"] for run in finished) == [str(seed) for seed in range(7)]
    assert [run.data.params["train.seed"] for run in runs if run not in finished] == [str(UNLUCKY)]
    assert {run.data.tags["threads"] for run in finished} == {"1"}
    assert "going on after step" in (workspace / f"{lost}.log").read_text()
    report = (project.folder / "reports/compare.md").read_text()
    assert all(run.data.tags["generator.sha256"] in report for run in finished)

    # What was made there is a cache hit here, but for the pictures: DVC forgets a stage with an uncached output that is
    # neither a metric nor a plot, and plots/play.html is none.
    output = project.run(
        "dvc", "exp", "run", "--pull", "-S", "train.threads=1", "-S", "train.seed=3", "-S", "variants.squares.epochs=20"
    )
    assert "Stage 'train' is cached" in output
    assert "Stage 'evaluate' is cached" in output
    (made,) = [run for run in finished if run.data.params["train.seed"] == "3"]
    pictures = Path(client.download_artifacts(made.info.run_id, "plots/samples.png"))
    assert pictures.read_bytes() == (project.folder / "plots/samples.png").read_bytes()
    assert len(client.search_runs(["1"])) == len(runs) + 1
