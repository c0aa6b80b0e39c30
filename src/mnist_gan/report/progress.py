"""The state of a training for the person who waits: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from mnist_gan import stops

if TYPE_CHECKING:
    from torch import Tensor

LINE_INTERVAL_S = 10


@contextmanager
def progress(total_steps: int, epoch_steps: int, done: int) -> Iterator["Progress"]:
    """An observer of a training of ``total_steps``, ``done`` of them before, that leaves the terminal tidy."""
    with tqdm(
        total=total_steps,
        initial=done,
        unit="step",
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
        bar_format="{desc} |{bar}| {n_fmt}/{total_fmt} steps, {remaining} left",
    ) as bar:
        shown = Progress(bar, total_steps, epoch_steps, done)
        yield shown
    shown.line()


class Progress:
    """Counts steps; shows the epoch, the two losses and the time left."""

    def __init__(self, bar: "tqdm[Any]", total_steps: int, epoch_steps: int, done: int) -> None:
        self.bar = bar
        self.total_steps = total_steps
        self.epoch_steps = epoch_steps
        self.done = self.steps = done
        self.state = ""
        self.started = self.last_line = time.monotonic()

    def stepped(self) -> None:
        """One more step is done; raises KeyboardInterrupt if a stop was sent."""
        stops.check()
        self.steps += 1
        self.bar.update()

    def losses(self, first: int, values: "Tensor") -> None:
        """Show the last of ``values`` ``[n, ...]``; off a terminal as a line every LINE_INTERVAL_S seconds."""
        loss_g, loss_d = values[-1, :2].tolist()
        epoch = (first + len(values) - 1) // self.epoch_steps + 1
        epochs = self.total_steps // self.epoch_steps
        self.state = f"epoch {epoch}/{epochs}, loss_g {loss_g:.3f}, loss_d {loss_d:.3f}"
        self.bar.set_description_str(self.state, refresh=False)
        if time.monotonic() - self.last_line >= LINE_INTERVAL_S:
            self.line()

    def samples(self, step: int, images: "Tensor") -> None:
        """Pictures are for others."""

    def line(self) -> None:
        """Print the state where there is no bar."""
        self.last_line = time.monotonic()
        if self.bar.disable and self.state:
            a_step = (self.last_line - self.started) / max(1, self.steps - self.done)
            left = a_step * (self.total_steps - self.steps)
            print(f"{self.state}, {tqdm.format_interval(left)} left", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds in words: ``45 s``, ``3 min 5 s``, ``1 h 20 min``, ``3 days``."""
    if seconds >= 2 * 86400:
        return f"{seconds // 86400:.0f} days"
    minutes, rest = divmod(round(seconds), 60)
    hours, over = divmod(minutes, 60)
    return f"{hours} h {over} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
