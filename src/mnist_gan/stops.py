"""Stops: Ctrl-C, SIGTERM, a terminal that is hung up.

A stop becomes a KeyboardInterrupt, wherever the program is. Within a library it may be lost: Python drops what is
raised while an object is destroyed, and so does a bare ``except``. Or it comes out as another error, as it does of
SQLite's functions that are written in Python. Therefore what goes on for long asks ``check``, and what makes a message
or a state of an error has stops ``kept``.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_asked = 0
"""How many stops this process was sent."""


def leave_at_once() -> None:
    """From now on a stop ends the process at once; for a program that has opened nothing yet."""
    _handle(_leave)


def interrupt() -> None:
    """From now on the first stop raises KeyboardInterrupt, the second changes nothing, the third ends the process."""
    _handle(_interrupt)
    sys.unraisablehook = _say_unless_interrupted


def check() -> None:
    """Raise KeyboardInterrupt if a stop was sent, whatever became of its own."""
    if _asked:
        raise KeyboardInterrupt


@contextmanager
def kept() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end if a stop was sent, whatever error a library made of it."""
    try:
        yield
    finally:
        check()


def leave() -> NoReturn:
    """End the process as a stopped one.

    Not by ``sys.exit``: it waits for other threads, and Python may then end itself by a signal in place of the code.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads any more
            stream.flush()
    _leave()


def _leave(signal_number: int = 0, frame: FrameType | None = None) -> NoReturn:
    os.write(2, b"interrupted\n")
    os._exit(130)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    global _asked
    _asked += 1
    if _asked == 1:
        raise KeyboardInterrupt
    if _asked > 2:
        _leave()


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have ``handler`` called on SIGNALS, but for those that the caller ignores, as nohup does."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _say_unless_interrupted(dropped: "sys.UnraisableHookArgs") -> None:
    """What Python says of an exception that it drops, but for that of a stop."""
    if not isinstance(dropped.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
