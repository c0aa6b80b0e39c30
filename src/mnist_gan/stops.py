"""Stops: Ctrl-C, SIGTERM, a terminal that is hung up.

A stop raises KeyboardInterrupt wherever the program is. Inside a library it may get lost: Python drops an exception
that is raised while an object is destroyed, and so does a bare ``except``. Or it turns into another error, as in
SQLite's functions that are written in Python. So long loops call ``check``, and code that turns errors into messages
or states runs within ``kept``.
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

_held = False
"""Whether a stop is put off."""


def leave_at_once() -> None:
    """Make a stop end the process at once, for a program that has opened nothing yet."""
    _handle(_leave)


def interrupt() -> None:
    """Make the first stop raise KeyboardInterrupt, the second do nothing, and the third end the process."""
    _handle(_interrupt)
    sys.unraisablehook = _say_unless_interrupted


def check() -> None:
    """Raise KeyboardInterrupt if a stop was sent, also if its own exception got lost."""
    if _asked:
        raise KeyboardInterrupt


@contextmanager
def kept() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end if a stop was sent, also if a library turned it into another error."""
    try:
        yield
    finally:
        check()


@contextmanager
def held() -> Iterator[None]:
    """Put a stop off to the end, around what is short and must be whole; a third one ends the process all the same."""
    global _held
    _held = True
    try:
        yield
    finally:
        _held = False
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
    if _asked == 1 and not _held:
        raise KeyboardInterrupt
    if _asked > 2:
        _leave()


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have ``handler`` called on SIGNALS, but for those that the caller ignores, as nohup does."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _say_unless_interrupted(dropped: "sys.UnraisableHookArgs") -> None:
    """Print what Python prints of an exception that it drops, unless it is a stop."""
    if not isinstance(dropped.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
