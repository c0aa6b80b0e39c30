"""What happens to a run, and what it is then: all of it. docs/operations.md prints this table, as a test holds."""

from enum import Enum


class State(Enum):
    """A run's state, by the name that MLflow has for it."""

    RUNNING = ("its training begins or goes on", "a process is at it")
    SCHEDULED = ("its training ends", "trained, not published: `dvc repro` completes it")
    FINISHED = ("`publish` has added all that was missing", "published: quality and pictures are there")
    KILLED = ("its training has stopped, which a free lock tells", "stopped: `dvc repro` goes on with it")
    FAILED = ("an error ends its training", "failed: `dvc repro` goes on with it, once the error is mended")

    def __init__(self, event: str, tag: str) -> None:
        self.event = event
        """What puts a run in this state."""
        self.tag = tag
        """What its tag ``state`` says."""

    @property
    def is_over(self) -> bool:
        """Whether MLflow is told when the run ended."""
        return self in (State.FINISHED, State.KILLED, State.FAILED)


def table() -> str:
    """The states in Markdown."""
    rows = [f"| {state.event} | {state.name} | {state.tag} |" for state in State]
    return "\n".join(["| what happens to a run | its state | its tag `state` |", "| --- | --- | --- |", *rows])
