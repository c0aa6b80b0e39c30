"""The ends of trainings that others go on from: files in models/starts, which DVC tracks."""

from pathlib import Path

from mnist_gan import variants
from mnist_gan.config import NO_START, Config
from mnist_gan.errors import UserError, command
from mnist_gan.files import read_tensors
from mnist_gan.training.generators import TRAINING, layout

FOLDER = Path("models/starts")


def checked(params: Config) -> Path | None:
    """The file that ``train.init_from`` names, if the training of ``params`` can go on from it; None begins anew.

    Raises:
        UserError: there is no such file, it is damaged, or its training does not fit.
    """
    shared, options = params.train, variants.parse(params.train.variant, params.variant)
    if shared.init_from == NO_START:
        return None
    path = FOLDER / shared.init_from
    try:
        _, end = read_tensors(path)
        there, done = dict(end["layout"]), int(end["epochs"])
    except FileNotFoundError:
        make = f"{command('cp', TRAINING, path)}, then {command('dvc', 'add', path)}, makes it of the present result"
        raise UserError(f"train.init_from: {path} not found; {make}") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        restore = command("dvc", "checkout", "--force", path)
        raise UserError(f"train.init_from: {path} is damaged ({error}): {restore} restores it") from None
    channels = int(there["channels"]) if params.prepare.channels == "auto" else params.prepare.channels
    here = layout(shared.variant, options, shared.latent_dim, channels, params.prepare.img_size)
    before = {name: field.default for name, field in type(options).model_fields.items()}
    for key, ours in here.items():
        theirs = there.get(key, before.get(key))  # an option that is younger than the file: as before there was one
        if theirs != ours:
            raise UserError(f"train.init_from: {shared.init_from} is a training with {key} {theirs}, here {ours}")
    if done >= options.epochs:
        raise UserError(f"train.init_from: {shared.init_from} ended after epoch {done}; raise epochs beyond that")
    return path
