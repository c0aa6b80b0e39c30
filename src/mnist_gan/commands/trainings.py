"""List the trainings that wait in .unfinished/, and remove those that nobody will take up."""

import argparse
import time
from pathlib import Path

from mnist_gan.errors import UserError
from mnist_gan.report.progress import duration
from mnist_gan.training.unfinished import Unfinished, folders, left_alone, remove


def main() -> None:
    """List, or remove what the command line names."""
    options = parser().parse_args()
    with left_alone() as idle:
        names = {folder.name: folder for folder in idle}
        wanted = names if options.remove == ["all"] else options.remove
        if missing := sorted(set(wanted) - names.keys()):
            raise UserError(f"no training {missing[0]} waits in .unfinished, or a process is at it; nothing removed")
        for name in wanted:
            remove(names[name])
            print(f"{name}: removed")
        if not wanted:
            for folder in folders():
                print(describe(folder, idle.get(folder)))


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan trainings", description=__doc__)
    made.add_argument("--remove", nargs="+", default=[], metavar="NAME", help="names from the list; `all` for all")
    return made


def describe(folder: Path, idle: Unfinished | UserError | None) -> str:
    """A line: name, training, how it stands, size."""
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    age = duration(time.time() - max((file.st_mtime for file in files), default=time.time()))
    state = f"{age} ago, {sum(file.st_size for file in files) / 1e6:.0f} MB"
    if idle is None:
        return f"{folder.name}  a process is at it, last written {state}"
    if isinstance(idle, UserError):
        return f"{folder.name}  damaged, last written {state}"
    inputs = idle.training.inputs
    variant = inputs.get("train.variant", "?")
    what = f"{variant}, {inputs.get(f'variants.{variant}.epochs', '?')} epochs, seed {inputs.get('train.seed', '?')}"
    return f"{folder.name}  {what}: {'trained, not published' if idle.finish else 'stopped'} {state}"
