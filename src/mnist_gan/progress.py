"""The state of a training for the person who waits: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

LINE_INTERVAL_S = 10


@contextmanager
def progress(total_steps: int, epochs: int, done: int) -> Iterator["Progress"]:
    """A Progress over ``total_steps``, ``done`` of them before, that leaves the terminal tidy."""
    with tqdm(
        total=total_steps,
        initial=done,
        unit="step",
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
        bar_format="{desc} |{bar}| {n_fmt}/{total_fmt} steps, {remaining} left",
    ) as bar:
        shown = Progress(bar, total_steps, epochs, done)
        if done:
            bar.write(f"going on after step {done} of {total_steps}", file=sys.stderr)
        yield shown
    shown.line()


class Progress:
    """Counts steps; shows the epoch, the two losses and the time left."""

    def __init__(self, bar: "tqdm[Any]", total_steps: int, epochs: int, done: int) -> None:
        self.bar = bar
        self.total_steps = total_steps
        self.epochs = epochs
        self.done = self.steps = done
        self.state = ""
        self.started = self.last_line = time.monotonic()

    def advance(self) -> None:
        """One more optimizer step is done."""
        self.steps += 1
        self.bar.update()

    def show(self, epoch: int, loss_g: float, loss_d: float) -> None:
        """Show the state in ``epoch``, counted from 1; off a terminal as a line every LINE_INTERVAL_S seconds."""
        self.state = f"epoch {epoch}/{self.epochs}, loss_g {loss_g:.3f}, loss_d {loss_d:.3f}"
        self.bar.set_description_str(self.state, refresh=False)
        if time.monotonic() - self.last_line >= LINE_INTERVAL_S:
            self.line()

    def line(self) -> None:
        """Print the state where there is no bar."""
        self.last_line = time.monotonic()
        if self.bar.disable:
            a_step = (self.last_line - self.started) / max(1, self.steps - self.done)
            left = a_step * (self.total_steps - self.steps)
            print(f"{self.state}, {tqdm.format_interval(left)} left", file=sys.stderr, flush=True)
