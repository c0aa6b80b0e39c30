"""The one exception for what a user can put right, and the entry point that prints it as one line."""

import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right. Its message says what is wrong, where, and what to do."""


def run_stage(stage: Callable[[], None]) -> None:
    """Run a stage's ``main`` as a program.

    A UserError becomes one line on stderr and exit code 1. SIGINT and SIGTERM both end in KeyboardInterrupt, so
    that a stage closes what it opened, and exit code 130.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        stage()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
