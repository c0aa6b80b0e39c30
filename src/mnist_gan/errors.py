"""The one exception for what a user can put right, and the entry point that prints it as one line."""

import io
import os
import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right. Its message says what is wrong, where, and what to do."""


def run_as_program(main: Callable[[], None]) -> None:
    """Run the ``main`` of a stage or command.

    A UserError becomes one line on stderr and exit code 1. SIGINT and SIGTERM both end in KeyboardInterrupt, so that
    whatever is open is closed, and exit code 130. A character that the output has no sign for is shown as another.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Nobody reads any more, as after `| head`; Python must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
