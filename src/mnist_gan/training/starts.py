"""The ends of trainings that others go on from: files in models/starts, which DVC tracks."""

from pathlib import Path

from mnist_gan.config import NO_START, TrainConfig
from mnist_gan.errors import UserError
from mnist_gan.files import read_tensors
from mnist_gan.training.generators import TRAINING

FOLDER = Path("models/starts")


def checked(shared: TrainConfig, epochs: int) -> Path | None:
    """The file that ``train.init_from`` names, if a training of ``epochs`` can go on from it; None begins anew.

    Raises:
        UserError: there is no such file, it is damaged, or its training does not fit.
    """
    if shared.init_from == NO_START:
        return None
    path = FOLDER / shared.init_from
    try:
        _, end = read_tensors(path)
        variant, done = end["variant"], end["epochs"]
    except FileNotFoundError:
        make = f"`cp {TRAINING} {path} && dvc add {path}` makes it of the present result"
        raise UserError(f"train.init_from: {path} not found; {make}") from None
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"train.init_from: {path} is damaged ({error}): `dvc checkout {path}` restores it") from None
    if variant != shared.variant:
        raise UserError(f"train.init_from: {shared.init_from} is a training of {variant}, not of {shared.variant}")
    if done >= epochs:
        raise UserError(f"train.init_from: {shared.init_from} ended after epoch {done}; raise epochs beyond that")
    return path
