"""Bring the result's run in MLflow up to date, and say how good the result is."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_gan import config, pipeline
from mnist_gan.config import Device
from mnist_gan.errors import run_as_program
from mnist_gan.files import sha256
from mnist_gan.report import summary
from mnist_gan.tracking import published
from mnist_gan.tracking.run import TrackedRun
from mnist_gan.tracking.store import connect, store_failures_in_one_line, tracking_page
from mnist_gan.training import generators, hardware
from mnist_gan.training.generators import FINAL, TRAINING, Checkpoint, Origin

AXES = ("epoch", "step")
"""The columns of plots/quality.csv that are no measure."""
FOLDERS = (Path("metrics"), Path("plots"))


def main() -> None:
    """Publish models/generator, metrics and plots: complete their run, or recreate it where the store has none."""
    params = config.load()
    store = connect()
    final = generators.read()
    name = generators.content_hash()
    quality = flatten(json.loads(Path("metrics/evaluate.json").read_text()))
    with store_failures_in_one_line():
        run = store.find(name)
        state = "completed" if run else "recreated"
        if run is None:
            samples, losses = generators.read_samples(), generators.read_losses()
            run = published.recreate(store, name, final.origin, losses, samples, final.step // final.epoch)
        files_hash = hash_of_files()
        determinants = pipeline.determinants(params, final.origin.environment)
        if published.is_complete(run, files_hash, determinants):
            state = "up to date"
        else:
            published.complete(
                run,
                files_hash,
                generators.checkpoints(),
                validation(),
                quality,
                (*FOLDERS, FINAL, TRAINING),
                summary.note(quality, name),
                determinants,
            )
    if elsewhere := another_environment(final.origin):
        print(elsewhere)
    print(summary.block(quality, title(final, run), final.epoch, f"{run.name} ({state})", tracking_page(run)))


def title(final: Checkpoint, run: TrackedRun) -> str:
    """Variant, seed, epochs, and how long the training took, which a recreated run does not know."""
    seconds = run.tags.get("training.seconds")
    took = f" in {duration(float(seconds))}" if seconds else ""
    return (
        f"{final.origin.variant}, seed {final.origin.shared['seed']}: "
        f"{final.epoch} epoch{'s' * (final.epoch != 1)}{took}, "
        f"generator {run.content_hash[:12]}"
    )


def duration(seconds: float) -> str:
    """Seconds in words: ``45 s``, ``3 min 5 s``, ``1 h 20 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, over = divmod(minutes, 60)
    return f"{hours} h {over} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def hash_of_files() -> str:
    """Names everything that a run holds of the result."""
    files = sorted(path for folder in FOLDERS for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return sha256("".join(f"{path} {sha256(path.read_bytes())}\n" for path in [*files, FINAL, TRAINING]).encode())


def validation() -> dict[int, dict[str, float]]:
    """The measures of each checkpoint by its step, from plots/quality.csv."""
    with Path("plots/quality.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {int(row["step"]): {name: float(row[name]) for name in row if name not in AXES} for row in rows}


def another_environment(origin: Origin) -> str:
    """What differs where the result was made, as after a restore from a shared cache: DVC does not see it."""
    hardware.configure()
    device: Device = "cpu" if origin.shared["device"] == "cpu" else "auto"
    here = hardware.choose(device, origin.shared["precision"]).environment
    differences = [f"{key} {was}, here {here[key]}" for key, was in origin.environment.items() if here[key] != was]
    if not differences:
        return ""
    return f"made in another environment ({'; '.join(differences)}); `dvc repro -f train` makes it in this one"


def flatten(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested metrics with their keys joined by slashes."""
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        flat |= flatten(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


if __name__ == "__main__":
    run_as_program(main)
