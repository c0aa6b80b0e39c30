"""Nothing ends in a traceback for the sake of a terminal or of an environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from mnist_gan import errors

PROGRAM = "from mnist_gan.__main__ import run_as_program\nrun_as_program(lambda: print({!r}))"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}


def test_a_character_that_cannot_be_shown_is_another() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format("Fréchet 5 ± 1")],
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "Fr?chet 5 ? 1\n", "")


def test_a_reader_that_went_away_ends_the_program_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format("text")], env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("name", ["plain", "a b", 'it\'s "$d" `e` \\', "Übung\nzwei", "-r"])
def test_a_command_means_the_path_from_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    checkout, below = tmp_path / name, tmp_path / name / "docs/below"
    below.mkdir(parents=True)
    file = checkout / "models/x y"
    monkeypatch.chdir(checkout)
    for folder in (checkout, below, tmp_path):
        monkeypatch.setattr(errors, "typed_in", folder)
        typed = errors.command("printf", "%s", Path("models/x y")).strip("`")
        shown = subprocess.run(["bash", "-c", typed], cwd=folder, capture_output=True, text=True, check=True).stdout
        assert (folder / shown).resolve() == file
    assert errors.command("a", "$b", "it's") == "`a '$b' 'it'\"'\"'s'`"


def test_without_the_environment_one_line_says_how_to_take_it() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mnist_gan", "publish"], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "`source .venv/bin/activate`" in line
