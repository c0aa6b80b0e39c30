"""``python -m mnist_gan NAME``: a stage of dvc.yaml, or a command beside it.

It sets up the process before the imports that take seconds, so that a program can be stopped from its first moment.
"""

import importlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mnist_gan import errors, stops
from mnist_gan.errors import UserError

STAGES, COMMANDS = (
    sorted(path.stem for path in Path(__file__).parent.glob(f"{room}/[a-z]*.py")) for room in ("stages", "commands")
)


def run() -> None:
    """Run the stage or command that the command line names, in the checkout's root."""
    stops.leave_at_once()
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name not in STAGES + COMMANDS:
        sys.exit(f"usage: python -m mnist_gan NAME; a stage: {', '.join(STAGES)}; a command: {', '.join(COMMANDS)}")
    os.environ["MPLBACKEND"] = "agg"  # a notebook's own backend does not exist here
    sys.argv = [name, *arguments]
    try:
        module = importlib.import_module(f"mnist_gan.{'stages' if name in STAGES else 'commands'}.{name}")
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {error.name} is not installed for {sys.executable}: `source .venv/bin/activate` takes the "
            "environment that make sets up"
        )

    def main() -> None:
        errors.typed_in = Path.cwd()
        os.chdir(_checkout())
        module.main()

    run_as_program(main)


def run_as_program(main: Callable[[], None]) -> None:
    """Run the ``main`` of a stage or command.

    A UserError becomes one line on stderr and exit code 1. A stop closes whatever is open and ends in exit code 130. A
    character that the output has no sign for is shown as another.
    """
    stops.interrupt()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with stops.kept():
            main()
        sys.stdout.flush()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        stops.leave()
    except BrokenPipeError:
        # Nobody reads any more, as after `| head`; Python must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _checkout() -> Path:
    """The folder with dvc.yaml: the current one or the nearest above.

    Raises:
        UserError: there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").exists():
            return folder
    raise UserError(f"{here} is in no checkout of mnist-gan: there is no dvc.yaml in it or above")


if __name__ == "__main__":
    run()
