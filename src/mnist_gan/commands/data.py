"""Make a data set of a folder of images, which has a folder for each class or none, and select it.

All images are read before anything is written. The set is one file, data/sets/NAME, under DVC: `dvc push` shares it.
"""

import argparse
import sys
from pathlib import Path

from dvc.utils.serialize import modify_yaml
from tqdm import tqdm

from mnist_gan import config, errors, stops
from mnist_gan.commands import _folder as folders
from mnist_gan.commands._dvc import dvc
from mnist_gan.data import sets
from mnist_gan.errors import UserError, command
from mnist_gan.files import write_tensors


def main() -> None:
    """Take the folder that the command line names, or forget a set."""
    options = parser().parse_args()
    config.load()
    if options.forget:
        forget(options.forget)
        return
    if not options.folder:
        raise UserError("name a folder of images, or --forget a data set")
    folder = errors.typed_in / options.folder.expanduser()
    name = options.name or folders.name_of(folder)
    path = _place(name)
    labelled = not options.no_labels
    files, left_out = folders.files_of(folder, labelled=labelled)
    bar = tqdm(files, unit="image", dynamic_ncols=True, disable=not sys.stderr.isatty(), leave=False)
    found = folders.look(bar, labelled=labelled)
    found.left_out = left_out
    if found.unreadable and not options.leave_out:
        raise UserError(
            f"{len(found.unreadable)} of {len(files)} files cannot be taken: {folders.some(found.unreadable)}; mend "
            "them, or say --leave-out"
        )
    folders.refuse(folder, found)
    if found.noun == "kind":
        found.deal()
    for line in folders.report(found):
        print(line)
    take(path, found)
    undo = command("python", "-m", "mnist_gan", "data", "--forget", name)
    add = command("git", "add", sets.tracked(path), path.with_name(".gitignore"), Path("params.yaml"))
    print(f"{add} lets sweeps and colleagues have it")
    print(f"data.name is {name} now: `make repro` trains on it, {undo} undoes this")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan data", description=__doc__)
    made.add_argument("folder", nargs="?", type=Path, help="has a folder of images for each class, or images alone")
    made.add_argument("--no-labels", action="store_true", help="take no notice of the classes")
    made.add_argument("--name", type=_name, help="of the data set; else the folder's")
    made.add_argument("--leave-out", action="store_true", help="go on without images that cannot be read")
    made.add_argument("--forget", metavar="NAME", help="remove a set that was made so, and select mnist")
    return made


def _name(text: str) -> str:
    if folders.name_of(Path(text)) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of letters, digits, dots, dashes and _")
    return text


def _place(name: str) -> Path:
    """The file of a new data set; raises UserError where there is one of this name."""
    if name in sets.names():
        raise UserError(f"there is a data set {name} already: name this one with --name")
    return sets.FOLDER / name


def take(path: Path, found: folders.Found) -> None:
    """Write the images to ``path``, put them under DVC and select them; after a failure or a stop nothing is left.

    Raises:
        UserError: the disk is full, or DVC cannot track the file.
    """
    ignored, params = path.with_name(".gitignore"), Path("params.yaml")
    before = {file: file.read_bytes() if file.exists() else None for file in (ignored, params)}
    try:
        with stops.kept():
            write_tensors(path, found.pack(), {"noun": found.noun, "classes": found.names})
            dvc("add", str(path))
            select(path.name)
    except BaseException:
        for file, content in before.items():
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.write_bytes(content)
        for left in (path, sets.tracked(path), path.with_name(f".{path.name}.part")):
            left.unlink(missing_ok=True)
        raise


def forget(name: str) -> None:
    """Remove the data set ``name``, and select mnist if it was selected; results and networks stay in DVC's cache.

    Raises:
        UserError: it was not made by this command.
    """
    path = sets.FOLDER / name
    known = sets.tracked(path)
    if not known.exists():
        raise UserError(f"there is no data set {name!r} that was made of a folder")
    if config.load().data.name == name:
        select("mnist")
    path.unlink(missing_ok=True)
    dvc("remove", str(known))
    print(f"{path} is removed")


def select(name: str) -> None:
    """Set ``data.name`` in params.yaml, as ``dvc exp run -S`` does; all else there stays as it is, comments too."""
    with modify_yaml("params.yaml") as params:
        params["data"]["name"] = name
