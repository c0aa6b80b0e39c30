"""What ``publish`` does where anything has changed."""

import csv
import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from mnist_gan import config, pipeline
from mnist_gan.config import Config, Device, TrainConfig
from mnist_gan.errors import UserError
from mnist_gan.files import flatten, sha256
from mnist_gan.quality.guards import too_few
from mnist_gan.quality.panel import Estimate
from mnist_gan.report import summary
from mnist_gan.report.progress import duration
from mnist_gan.tracking import published
from mnist_gan.tracking.published import Result
from mnist_gan.tracking.run import PRIMARY, TrackedRun
from mnist_gan.tracking.store import connect, store_failures_in_one_line, tracking_page
from mnist_gan.training import generators, hardware
from mnist_gan.training.engine import hardware_for
from mnist_gan.training.generators import FINAL, TRAINING, Checkpoint, Origin

AXES = ("epoch", "step")
"""The columns of plots/quality.csv that are no measure."""
FOLDERS = (Path("metrics"), Path("plots"))


def publish() -> tuple[str, str, str, str]:
    """Publish models/generator, metrics and plots.

    Returns:
        The run's id and its tag ``published``; what is to be said now, and later if nothing has changed.
    """
    params = config.load()
    store = connect()
    checkpoints = list(generators.checkpoints())
    final, quality = generators.read(), flatten(json.loads(Path("metrics/evaluate.json").read_text()))
    files = result_files()
    result = Result(
        content_hash=generators.content_hash(),
        training=generators.read_training(),
        checkpoints=checkpoints,
        validation=validation(),
        quality=quality,
        files=files,
        tags={
            "distance": too_few(quality) or str(Estimate.of(quality, PRIMARY)),
            "draws": summary.drawn(quality),
            "paper": paper(final.origin.variant),
            "generator.parameters": str(sum(weights.numel() for weights in final.generator.parameters())),
            "ruler": str(quality["ruler"]),
            "published": hash_of(files),
            "determinants": pipeline.determinants(params, final.origin.environment),
            "code": code(params),
        },
        note=lambda run_id: summary.note(quality, run_id),
    )
    with store_failures_in_one_line():
        run, state = published.publish(store, result)
    elsewhere = another_environment(final.origin, params.train)

    def said(state: str) -> str:
        named = f"{run.name} ({state})"
        block = summary.block(quality, title(final, run), final.epoch, named, tracking_page(run))
        return "\n".join(filter(None, [elsewhere, block]))

    return run.id, result.tags["published"], said(state), said(published.UP_TO_DATE)


def code(params: Config) -> str:
    """Names the code that trains the selected variant: seeds of different code are no draws of one configuration."""
    files = {
        name: value for name, value in pipeline.inputs("train", params).items() if name.startswith(pipeline.SOURCE)
    }
    return sha256(json.dumps(files, sort_keys=True).encode())[:12]


def paper(variant: str) -> str:
    """The first paper that the variant's file cites, by its name at arXiv; empty where it cites none."""
    cited = re.search(r"arXiv \d+\.\d+", importlib.import_module(f"mnist_gan.variants.{variant}").__doc__ or "")
    return cited.group() if cited else ""


def title(final: Checkpoint, run: TrackedRun) -> str:
    """Variant, seed, epochs, and how long the training took, which a recreated run does not know."""
    seconds = run.tags.get("training.seconds")
    took = f" in {duration(float(seconds))}" if seconds else ""
    return (
        f"{final.origin.variant}, seed {final.origin.shared['seed']}: "
        f"{final.epoch} epoch{'s' * (final.epoch != 1)}{took}, "
        f"generator {run.content_hash[:12]}"
    )


def result_files() -> dict[str, Path]:
    """What a run keeps of its result as it is, by its name there."""
    shown = [path for folder in FOLDERS for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."]
    return {str(path): path for path in shown} | {path.name: path for path in (FINAL, TRAINING)}


def hash_of(files: Mapping[str, Path]) -> str:
    """Names everything that is in ``files``."""
    return sha256("".join(f"{name} {sha256(path.read_bytes())}\n" for name, path in files.items()).encode())


def validation() -> dict[int, dict[str, float]]:
    """The measures of each checkpoint by its step, from plots/quality.csv."""
    with Path("plots/quality.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {int(row["step"]): {name: float(row[name]) for name in row if name not in AXES} for row in rows}


def another_environment(origin: Origin, shared: TrainConfig) -> str:
    """What differs where the result was made, as after a restore from a shared cache: DVC does not see it."""
    hardware.configure(threads=shared.threads)
    device: Device = "cpu" if shared.device == "cpu" else "auto"
    try:
        here = hardware_for(shared.model_copy(update={"device": device})).environment
    except UserError as error:
        return f"made in another environment: {error}"
    differences = [
        f"{key} {was}, here {here[key]}" for key, was in origin.environment.items() if here.get(key, was) != was
    ]
    if not differences:
        return ""
    return (
        f"made in another environment ({'; '.join(differences)}); "
        "`dvc repro -f -s train && dvc repro` makes it in this one"
    )
