"""Bring the result's run in MLflow up to date: complete it, or recreate it where the store has none."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_gan import images, result, tracking
from mnist_gan.engine import choose_device, choose_precision, environment
from mnist_gan.errors import run_stage
from mnist_gan.files import sha256

AXES = ("epoch", "step")
"""The columns of plots/quality.csv that are no measure."""
FOLDERS = (Path("metrics"), Path("plots"))


def main() -> None:
    """Publish models/generator, metrics and plots."""
    store = tracking.connect()
    name = result.content_hash()
    run = tracking.find(store, name)
    recreated = run is None
    if run is None:
        _, origin = result.read_generator()
        grids = {step: images.grid(samples, 5) for step, samples in result.read_samples().items()}
        run = tracking.recreate(store, name, origin, result.read_losses(), grids, origin.step // origin.epoch)

    files = sorted(path for folder in FOLDERS for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    files += [result.FINAL, result.TRAINING]
    files_hash = sha256("".join(f"{path} {sha256(path.read_bytes())}\n" for path in files).encode())
    if tracking.is_complete(run, files_hash):
        state = "up to date"
    else:
        state = "recreated" if recreated else "completed"
        with Path("plots/quality.csv").open() as file:
            rows = list(csv.DictReader(file))
        validation = {int(row["step"]): {name: float(row[name]) for name in row if name not in AXES} for row in rows}
        quality = flatten(json.loads(Path("metrics/evaluate.json").read_text()))
        kept = (*FOLDERS, result.FINAL, result.TRAINING)
        tracking.complete(store, run, files_hash, result.checkpoints(), validation, quality, kept, note(name, quality))
    note_another_environment()
    print(f"MLflow run {run.info.run_id} ({run.info.run_name}), generator {name[:12]}: {state}")


def note_another_environment() -> None:
    """Say what differs where the result was made, as after a restore from a shared cache: DVC does not see it."""
    _, origin = result.read_generator()
    device = choose_device("cpu" if origin.train["device"] == "cpu" else "auto")
    here = environment(device, choose_precision(origin.train["precision"], device))
    differences = [f"{key} {was}, here {here[key]}" for key, was in origin.environment.items() if here[key] != was]
    if differences:
        print(f"made in another environment ({'; '.join(differences)}); `dvc repro -f train` makes it in this one")


def note(name: str, quality: Mapping[str, float]) -> str:
    """The run's description, in Markdown."""

    def distance(space: str) -> str:
        interval = f"interval/{space}/frechet_distance"
        return (
            f"Fréchet distance **{quality[f'{space}/frechet_distance']:.4g}** "
            f"({quality[f'{interval}/low']:.4g} to {quality[f'{interval}/high']:.4g}) on the {space}'s features; "
            f"real images have {quality[f'floor/{space}/frechet_distance']:.2g}."
        )

    return (
        f"{distance('judge')}\n\n{distance('autoencoder')}\n\n"
        f"It draws {quality['judge/digits_present']:.0f} of 10 digits. By validation the best checkpoint is that of "
        f"epoch {quality['best/epoch']:.0f}.\n\nGenerator `{name}`."
    )


def flatten(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested metrics with their keys joined by slashes."""
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        flat |= flatten(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


if __name__ == "__main__":
    run_stage(main)
