"""DVC, as a user would type it."""

import subprocess
import sys
from pathlib import Path

import psutil

from mnist_gan import stops
from mnist_gan.errors import UserError, command

QUEUE = Path(".dvc/tmp/exps")
"""Of DVC: what waits, runs and has failed. What has succeeded is in git."""


def dvc(*arguments: str) -> str:
    """What a short command of ``dvc`` prints.

    A stop waits for its end, and Ctrl-C does not reach it: DVC rewrites its list of locks in place, and one that ends
    in the middle leaves a list that no later command can read.

    Raises:
        UserError: it failed, with its complaint, or with what is in its way.
    """
    with stops.held():
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, start_new_session=True
        )
    if done.returncode == 0:
        return done.stdout
    complaint = next((line for line in done.stderr.splitlines() if line.startswith("ERROR: ")), "no word of an error")
    said = f"dvc {' '.join(arguments)}: {complaint.removeprefix('ERROR: ')}"
    if "acquire lock" in said:
        said = "; ".join(["DVC is at work in this checkout: wait for its end, or end it", *_processes()])
    elif "unexpected error" in said and QUEUE.exists():
        said += f"; if that is DVC's queue, {command('rm', '-r', QUEUE)} begins it anew, and no result is lost"
    raise UserError(said)


def show_dvc(*arguments: str) -> None:
    """Run a long command of ``dvc`` in the terminal, where Ctrl-C reaches it; raises UserError where it fails."""
    if subprocess.Popen([sys.executable, "-m", "dvc", *arguments]).wait():
        raise UserError(f"{command('dvc', *arguments)} failed")


def _processes() -> list[str]:
    """The programs of DVC that run in this checkout, in words."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "pid"]):
        words = process.info["cmdline"] or ()
        programs = [Path(word).name for word in words[:3]]
        if "dvc" in programs and process.info["cwd"] == str(Path.cwd()):
            typed = command("dvc", *words[programs.index("dvc") + 1 :])
            found.append(f"{typed} is process {process.info['pid']}")
    return found
