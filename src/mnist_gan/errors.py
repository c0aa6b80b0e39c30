"""What a user can put right: the one exception for it, and commands to type."""

import os
import shlex
from pathlib import Path

typed_in = Path()
"""The folder in which the user typed what runs, where that is not the current one."""


class UserError(Exception):
    """Something the user can put right. Its message says what is wrong, where, and what to do."""


def command(*words: str | Path) -> str:
    """A command in backticks that can be pasted as it stands into the user's shell.

    Args:
        words: of the command. A Path is shown from the folder where the user is, or from the root if that is shorter.
    """

    def shown(path: Path) -> str:
        here = os.path.relpath(path, typed_in)
        return min(f"./{here}" if here.startswith("-") else here, str(path.absolute()), key=len)

    return f"`{shlex.join(shown(word) if isinstance(word, Path) else word for word in words)}`"
