"""Take a published generator out of the project, as a folder in the layout of a Hugging Face model repository.

The folder has the weights, the same network in ONNX, the page that draws, pictures, all measures, and a model card that
says what they mean. Every number is the run's own.
"""

import argparse
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np
import onnxruntime
import torch
from torch import nn

from mnist_gan import config, errors
from mnist_gan.errors import UserError
from mnist_gan.quality.guards import too_few
from mnist_gan.quality.panel import Estimate
from mnist_gan.report import summary
from mnist_gan.tracking import registry
from mnist_gan.tracking.run import TrackedRun
from mnist_gan.tracking.store import Store, connect, store_failures_in_one_line
from mnist_gan.training import generators
from mnist_gan.training.generators import FINAL, Checkpoint
from mnist_gan.variants import Conditional

TEMPLATE = Path(__file__).with_name("_card.md.jinja")
ONNX = "generator.onnx"
KEPT = {"metrics/evaluate.json": "metrics.json", "plots/classes.png": "classes.png", "plots/nearest.png": "nearest.png",
        "plots/play.html": "play.html"}  # fmt: skip
"""Artifacts of a run that go along, and what they are called there."""
BATCHES = (1, 64)
"""Numbers of images with which the network in ONNX is compared with torch's."""
TOLERANCE = 1e-3
"""How far a value in [-1, 1] may be from torch's: an eighth of a grey level."""


def main() -> None:
    """Write the folder that the command line names."""
    options = parser().parse_args()
    folder = errors.typed_in / options.to.expanduser()
    if folder.exists():
        raise UserError(f"{folder} exists: give a folder that does not")
    store = connect()
    try:
        with store_failures_in_one_line():
            run = chosen(store, options.run)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
                write(run, Path(aside, "whole"))
                Path(aside, "whole").rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from None
    print(f"{run.name}, generator {run.content_hash[:12]}: {folder}")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan export", description=__doc__)
    made.add_argument("run", help="champion, or the start of a run id or of a generator's hash, or a run's name")
    made.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="does not exist yet")
    return made


def chosen(store: Store, name: str) -> TrackedRun:
    """The published run of this name, or the champion of the selected data set.

    Raises:
        UserError: there is none.
    """
    if name != "champion":
        return store.named([name])[0]
    model = registry.model_of(config.load().data.name)
    holder, trouble = registry.champion(store, model)
    if holder is None:
        raise UserError(trouble or f"{model} has no champion: `python -m mnist_gan promote` makes one")
    return holder


def write(run: TrackedRun, folder: Path) -> None:
    """Make ``folder`` and write everything to it.

    Raises:
        UserError: the store has lost one of the run's files, or the network in ONNX is another.
    """
    folder.mkdir()
    (folder / FINAL.name).write_bytes(run.artifact(FINAL.name))
    for name, there in KEPT.items():
        (folder / there).write_bytes(run.artifact(name))
    final = generators.read(folder / FINAL.name)
    write_onnx(final, folder / ONNX)
    (folder / "README.md").write_text(card(run, final))


def write_onnx(final: Checkpoint, path: Path) -> None:
    """Write the network, for any number of images at once, and see that it draws the same.

    Raises:
        UserError: it does not.
    """
    example = torch.randn(2, final.origin.latent_dim)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            final.generator, (example,), dynamo=True, verbose=False, input_names=["latents"], output_names=["images"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
    assert program
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    for count in BATCHES:
        latents = torch.randn(count, final.origin.latent_dim, generator=torch.Generator().manual_seed(count))
        (drawn,) = session.run(None, {"latents": latents.numpy()})
        with torch.inference_mode():
            away = np.abs(drawn - final.generator(latents).numpy()).max()
        if not away < TOLERANCE:
            raise UserError(f"the network in ONNX draws other images than torch's: a value is {away:.2g} away")


def card(run: TrackedRun, final: Checkpoint) -> str:
    """The model card, in Markdown."""
    quality, origin = run.quality, final.origin
    chosen_by = told(final.generator, origin.classes.names)
    rows = [
        (title, Estimate.of(quality, name), Estimate.of(quality, name, "floor/"))
        for name, title in summary.headlines(quality).items()
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE.name).render(
        run=run,
        origin=origin,
        epochs=final.epoch,
        parameters=sum(weights.numel() for weights in final.generator.parameters()),
        paper=run.tags.get("paper", ""),
        rows=[] if too_few(quality) else rows,
        verdict=summary.verdict(quality),
        drawn=summary.drawn(quality),
        weak=summary.judges(quality),
        samples=int(quality["samples"]),
        test_images=int(quality.get("data/test_images", 10_000)),
        told=chosen_by,
        example=next(iter(chosen_by.items()), None),
    )


def told(generator: nn.Module, names: Sequence[str]) -> dict[str, float]:
    """What the first number of a latent vector is for each class, by its name; nothing for one that is not told."""
    if not isinstance(generator, Conditional):
        return {}
    labels = torch.arange(len(names))
    middles = generator.of_class(labels, torch.zeros(len(names), 1))[:, 0].tolist()  # of each class's piece
    return {name: round(middle, 4) for name, middle in zip(names, middles, strict=True)}
