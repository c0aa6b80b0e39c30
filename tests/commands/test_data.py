"""A folder of one's own images becomes a data set, or nothing is changed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import artifact, paste, run_python, set_params
from pictures import letters, views, write_folder
from project import Project
from ruamel.yaml import YAML

from mnist_gan.commands import _folder as folders
from mnist_gan.data.prepared import read_prepared
from mnist_gan.files import read_tensors, write_tensors
from mnist_gan.quality import judge
from mnist_gan.training import generators


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """780 letters of three classes, with a file that is no image among them."""
    made = write_folder(tmp_path_factory.mktemp("pictures") / 'it\'s my "A, B"', letters(780, size=20, names="ABC"))
    (made / "A/Thumbs.db").write_bytes(b"thumbs")
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project") / """a b'c $d "e\"""")


def data(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in the project."""
    return subprocess.run(
        [sys.executable, "-m", "mnist_gan", "data", *arguments],
        cwd=project.folder, env=project.environment, capture_output=True, text=True,
    )  # fmt: skip


def selected(project: Project) -> str:
    return str(YAML(typ="safe").load((project.folder / "params.yaml").read_text())["data"]["name"])


def unchanged(project: Project) -> bool:
    """Whether git sees no change, and no file of a data set is left."""
    left = {path.name for path in (project.folder / "data/sets").iterdir()} - {"mnist", "fashion-mnist", "kmnist"}
    return project.run("git", "status", "--porcelain") == "" and not left


def test_a_folder_is_taken_and_forgotten(project: Project, folder: Path) -> None:
    done = data(project, str(folder))
    assert done.returncode == 0, done.stderr
    for part in ("780 images in 3 classes", "20x20 pixels, grey", "left out, as no images: A/Thumbs.db"):
        assert part in done.stdout
    assert selected(project) == "it-s-my-A-B"
    tensors, about = read_tensors(project.folder / "data/sets/it-s-my-A-B")
    assert (tensors["images"].shape, about) == ((780, 1, 20, 20), {"noun": "class", "classes": ["A", "B", "C"]})
    assert "sets/it-s-my-A-B\n" not in project.run("git", "status", "--porcelain", "-uall")  # it is DVC's
    again = data(project, str(folder))
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "there is a data set it-s-my-A-B already: name this one with --name" in again.stderr
    add, undo = done.stdout.splitlines()[-2:]
    paste(add, project.folder)
    assert "A  data/sets/it-s-my-A-B.dvc" in project.run("git", "status", "--porcelain")
    project.run("git", "reset", "--quiet")
    paste(undo.replace("`make repro`", ""), project.folder)
    assert selected(project) == "mnist"
    project.run("git", "checkout", "params.yaml")
    assert unchanged(project)


def test_what_cannot_be_read_is_refused_or_left_out(project: Project, folder: Path) -> None:
    broken = folder / "B/broken.png"
    broken.write_bytes(b"")
    try:
        refused = data(project, str(folder), "--name", "some")
        assert refused.returncode == 1
        assert refused.stderr == (
            "error: 1 of 781 files cannot be taken: B/broken.png (it is no image); mend them, or say --leave-out\n"
        )
        assert unchanged(project)
        taken = data(project, str(folder), "--name", "some", "--leave-out")
        assert taken.returncode == 0, taken.stderr
        assert "left out, as told: B/broken.png" in taken.stdout
    finally:
        broken.unlink()
        data(project, "--forget", "some")
        project.run("git", "checkout", "params.yaml")
    assert unchanged(project)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "name a folder of images, or --forget a data set"),
        (("nowhere",), "nowhere does not exist"),
        (("--forget", "mnist"), "there is no data set 'mnist' that was made of a folder"),
        (("--forget", "gone"), "there is no data set 'gone'"),
        (("src", "--name", "kmnist"), "there is a data set kmnist already"),
    ],
)
def test_a_mistake_is_one_line(project: Project, arguments: tuple[str, ...], reason: str) -> None:
    done = data(project, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert reason in done.stderr
    assert unchanged(project)


LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.argv = ["mnist_gan", "data", sys.argv[1], "--name", "large"]
runpy.run_module("mnist_gan", run_name="__main__")
"""
"""The command where no file may have more than 100,000 bytes."""


def test_a_full_disk_leaves_nothing(project: Project, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder)],
        cwd=project.folder, env=project.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "cannot write data/sets/large: File too large" in done.stderr
    assert unchanged(project)


@pytest.mark.parametrize("seconds", [0.5, 3.0, 4.5, 5.0, 5.5, 6.0, 6.5])
def test_a_stop_leaves_all_or_nothing(project: Project, folder: Path, seconds: float) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "mnist_gan", "data", str(folder), "--name", "stopped"],
        cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    time.sleep(seconds)
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate()
    assert "Traceback" not in errors
    if selected(project) == "stopped":
        data(project, "--forget", "stopped")
    else:
        assert (program.returncode, errors) == (130, "interrupted\n")
    project.run("git", "checkout", "params.yaml")
    assert unchanged(project)


ADD = """
from mnist_gan.__main__ import run_as_program
from mnist_gan.commands._dvc import dvc
run_as_program(lambda: dvc("add", "data/sets/whole"))
"""


def stopped_in_dvc(project: Project, *command: str) -> tuple[int, str]:
    """Exit code and errors of a program that is sent Ctrl-C once DVC has begun, in a session of its own."""
    program = subprocess.Popen(
        [sys.executable, *command],
        cwd=project.folder, env=project.environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while all(os.getsid(child.pid) == program.pid for child in psutil.Process(program.pid).children()):
        assert program.poll() is None
        time.sleep(0.01)
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate()
    return program.returncode, errors


def test_a_stop_waits_for_dvc(project: Project) -> None:
    """DVC that is ended in the middle may leave a list of locks that no later command can read."""
    added = project.folder / "data/sets/whole"
    added.write_bytes(b"whole")
    assert stopped_in_dvc(project, "-c", ADD) == (130, "interrupted\n")
    assert added.with_name("whole.dvc").exists()
    project.run("dvc", "remove", "data/sets/whole.dvc")
    added.unlink()
    assert unchanged(project)


def test_a_stop_leaves_no_half_of_a_forgotten_set(project: Project, folder: Path) -> None:
    assert data(project, str(folder), "--name", "half").returncode == 0
    assert stopped_in_dvc(project, "-m", "mnist_gan", "data", "--forget", "half") == (130, "interrupted\n")
    assert unchanged(project)


STAGES = """
from mnist_gan.__main__ import run_as_program
from mnist_gan.stages import autoencoder, download, evaluate, judges, prepare, publish, render, ruler, train
for stage in download, prepare, judges, autoencoder, ruler, train, render, evaluate, publish:
    run_as_program(stage.main)
"""
"""The pipeline in one process."""


def test_coloured_letters_are_trained_and_judged_in_colour(workspace: Path, tmp_path: Path) -> None:
    files, _ = folders.files_of(write_folder(tmp_path / "letters", letters(600, size=24, coloured=True, names="AB")))
    found = folders.look(files)
    write_tensors(Path("data/sets/letters"), found.pack(), {"noun": found.noun, "classes": found.names})
    Path("data/sets/letters.dvc").touch()
    set_params(
        workspace, data__name="letters", prepare__img_size=16, variants__cr3gan__epochs=1, evaluate__samples=1000,
        judges__epochs=1, autoencoder__epochs=1, train__device="cpu",
    )  # fmt: skip
    done = run_python("-c", STAGES, folder=workspace)
    assert done.returncode == 0, done.stderr
    assert read_prepared("train").images.shape[1:] == (3, 16, 16)
    assert {one.channels for one in judge.read()} == {3}
    assert set(json.loads(judge.ACCURACY.read_text())) == {f"judge-{number}" for number in range(5)}
    assert set(json.loads(Path("metrics/evaluate.json").read_text())["classes"]) == {"A", "B"}
    final = generators.read()
    assert final.origin.classes == ("class", ("A", "B"))
    assert "classes" in done.stdout.partition("draws ")[2].splitlines()[0]


@pytest.mark.slow
def test_letters_are_trained_judged_and_kept_apart_from_digits(
    project: Project, folder: Path, small_inputs: Path
) -> None:
    """And the way back is a cache hit: nothing is trained twice."""
    project.take(small_inputs / "data/prepared")
    project.run("dvc", "repro")
    digits = project.lock()
    assert data(project, str(folder), "--name", "letters").returncode == 0
    set_params(project.folder, train__variant="cr3gan", variants__cr3gan__epochs=2, judges__epochs=2)
    said = project.run("dvc", "repro")
    assert "epochs make 3,750" in said
    assert "real images: Fréchet distance" in said
    assert "digit" not in said.partition("told from real")[2]
    run = project.runs()[-1]
    assert (run.data.params["data.name"], run.data.tags["data"]) == ("letters", "letters")
    assert run.info.run_name == "letters cr3gan 2 epochs seed 0"
    assert run.inputs
    (used,) = run.inputs.dataset_inputs
    tensors, _ = read_tensors(project.folder / "data/sets/letters")
    assert used.dataset.name == "letters-train"
    assert json.loads(used.dataset.profile or "")["images"] == int((~tensors["test"]).sum())
    metrics = json.loads((project.folder / "metrics/evaluate.json").read_text())
    assert set(metrics["classes"]) == {"A", "B", "C"}
    promoted = project.run(sys.executable, "-m", "mnist_gan", "promote")
    assert "of mnist-gan-letters: letters cr3gan" in promoted

    project.commit("letters")
    queued = project.run(sys.executable, "-m", "mnist_gan", "sweep", "--variants", "squares=2", "--seeds", "0", "1")
    assert len(re.findall(r"squares-2-seed\d-\w{7}: queued", queued)) == 2
    assert {(run.info.status, run.data.tags["data"]) for run in project.runs()[-2:]} == {("FINISHED", "letters")}

    project.run("git", "reset", "--quiet", "--hard", "HEAD~1")
    back = project.run("dvc", "repro")
    # Not render: DVC's run cache leaves out a stage with a file in git that is neither a plot nor a metric, the page.
    for stage in ("download", "judges", "autoencoder", "ruler", "train", "evaluate"):
        assert f"Stage '{stage}' is cached" in back, back
    before, after = (YAML(typ="safe").load(lock) for lock in (digits, project.lock()))
    assert after == before


@pytest.mark.slow
def test_few_pictures_without_classes_end_in_honest_lines(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "holidays"
    folder.mkdir()
    for number, view in enumerate(views(400)):
        view.save(folder / f"{number}.jpg", quality=90)
    taken = data(project, str(folder))
    assert "400 images without classes, dealt into 8 kinds by their looks" in taken.stdout, taken.stderr
    set_params(project.folder, train__variant="cr3gan", variants__cr3gan__epochs=20, prepare__img_size=48)
    said = project.run("dvc", "repro")
    assert "There are too few images to measure: " in said
    assert "Fréchet distance  " not in said
    run = project.runs()[-1]
    assert (run.info.status, run.data.tags["data"], run.data.tags["distance"][:17]) == (
        "FINISHED", "holidays", "there are too few",
    )  # fmt: skip
    assert artifact(run, "plots/play.html").exists()
    promoted = project.run(sys.executable, "-m", "mnist_gan", "promote")
    assert "the champion stays: there are too few images to measure" in promoted
    data(project, "--forget", "holidays")
    project.run("git", "checkout", "params.yaml")
