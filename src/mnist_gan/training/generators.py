"""What one training leaves in models/generator, and nothing else: the only writer and reader of that folder.

generator.safetensors               the final generator; the SHA-256 of this file names the result
checkpoints/epoch-0010.safetensors  the generator after that epoch, the last one included
training.safetensors                the state of the training at its end: networks, optimizers, random numbers,
                                    the record of every step, the samples and the steps they were taken at
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor, nn

from mnist_gan import variants
from mnist_gan.data.prepared import DIGITS, Classes
from mnist_gan.errors import UserError, command
from mnist_gan.files import read_tensors, sha256, write_tensors
from mnist_gan.variants import Options

FOLDER = Path("models/generator")
FINAL = FOLDER / "generator.safetensors"
TRAINING = FOLDER / "training.safetensors"


def layout(variant: str, options: Options, latent_dim: int, channels: int, img_size: int) -> dict[str, str | float]:
    """What must be equal for one training to go on from another's end."""
    fixed: dict[str, float] = {name: getattr(options, name) for name in options.fixed}
    return {"variant": variant, **fixed, "latent_dim": latent_dim, "channels": channels, "img_size": img_size}


@dataclass(frozen=True)
class Origin:
    """How a generator was made; stored in its file, so that the file alone rebuilds it."""

    variant: str
    image_shape: tuple[int, int, int]
    shared: Mapping[str, Any]
    """The section ``train`` of params.yaml."""
    options: Mapping[str, Any]
    """The variant's section."""
    record: tuple[str, ...]
    """Names of the values that each step left."""
    data_sha256: str
    """Of the prepared training images and labels."""
    environment: Mapping[str, str]
    """What else determines the result: device, threads, precision, torch's version."""
    classes: Classes = DIGITS
    """Of the images."""

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        return int(self.shared["latent_dim"])

    @property
    def layout(self) -> dict[str, str | float]:
        """What a training that goes on from the end of this one must have, too."""
        channels, height, _ = self.image_shape
        return layout(self.variant, variants.parse(self.variant, self.options), self.latent_dim, channels, height)

    @property
    def params(self) -> dict[str, Any]:
        """Both sections under one name, so that runs of different variants compare parameter by parameter."""
        return {f"train.{key}": value for key, value in (*self.shared.items(), *self.options.items())}


@dataclass(frozen=True)
class Checkpoint:
    """A generator at one moment of its training."""

    generator: nn.Module
    origin: Origin
    epoch: int
    step: int


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write weights and buffers in float32, with everything else about them."""
    origin = asdict(checkpoint.origin)
    if checkpoint.origin.classes == DIGITS:
        del origin["classes"]  # files of 0.2.0, which knew no others, are the same
    made = {"origin": origin, "epoch": checkpoint.epoch, "step": checkpoint.step}
    write_tensors(path, checkpoint.generator.state_dict(), made)


def read(path: Path = FINAL) -> Checkpoint:
    """The generator in ``path``, on the CPU in eval mode.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        weights, made = read_tensors(path)
        fields = made["origin"]
        noun, names = fields.get("classes", DIGITS)
        origin = Origin(
            **fields
            | {key: tuple(fields[key]) for key in ("image_shape", "record")}
            | {"classes": Classes(noun, tuple(names))}
        )
        options = variants.parse(origin.variant, origin.options)
        generator = variants.build(origin.variant, options, origin.latent_dim, origin.image_shape, len(names)).generator
        generator.load_state_dict(weights)
        return Checkpoint(generator.eval(), origin, made["epoch"], made["step"])
    except FileNotFoundError:
        raise UserError(f"{path} not found{_remedy(path, 'run `dvc repro train`')}") from None
    except ModuleNotFoundError:
        raise UserError(f"{path} is of a variant that src/mnist_gan/variants does not have: {origin.variant}") from None
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None


def checkpoint_path(epoch: int, folder: Path = FOLDER) -> Path:
    """Where the generator after ``epoch`` is kept."""
    return folder / f"checkpoints/epoch-{epoch:04}.safetensors"


def checkpoint_paths(folder: Path = FOLDER) -> list[Path]:
    """The checkpoints that exist, by epoch."""
    return sorted(folder.glob("checkpoints/epoch-*.safetensors"), key=lambda path: int(path.stem[6:]))


def checkpoints() -> Iterator[Checkpoint]:
    """Every checkpoint, by epoch; raises UserError where there is none or one is damaged."""
    paths = checkpoint_paths()
    if not paths:
        raise UserError(f"{FOLDER} holds no checkpoint: run `dvc repro train`")
    for path in paths:
        yield read(path)


def content_hash() -> str:
    """The name of this result: SHA-256 of the final generator's file."""
    return sha256(FINAL.read_bytes())


def finish(folder: Path, final: Checkpoint, state: Mapping[str, Tensor]) -> str:
    """Complete the result that ``folder`` holds the checkpoints of; returns the final generator's SHA-256."""
    write(folder / FINAL.name, final)
    write_tensors(folder / TRAINING.name, state, {"layout": final.origin.layout, "epochs": final.epoch})
    return sha256((folder / FINAL.name).read_bytes())


def put_in_place(folder: Path) -> None:
    """Copy the result that ``folder`` holds whole to models/generator.

    Raises:
        UserError: it cannot be written; what models/generator held stays.
    """
    new, old, lock = (FOLDER.with_name(f".{FOLDER.name}.{kind}") for kind in ("new", "old", "lock"))
    try:
        FOLDER.parent.mkdir(exist_ok=True)
        with FileLock(lock):  # two trainings of one checkout may end at once
            for left in (new, old):
                shutil.rmtree(left, ignore_errors=True)
            # What a kill left of a file begins with a dot.
            shutil.copytree(folder, new, ignore=shutil.ignore_patterns(".*"))
            if FOLDER.exists():
                FOLDER.rename(old)
            new.rename(FOLDER)
            shutil.rmtree(old, ignore_errors=True)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(new, ignore_errors=True)
        raise UserError(f"cannot write {FOLDER}: {error}; it is as it was before, and the result is kept") from None


def read_training(path: Path = TRAINING) -> dict[str, Tensor]:
    """The state at the end of a training: what ``Trainer.state`` gave.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return read_tensors(path)[0]
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def samples_of(state: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """The fixed latents' images in a training's ``state`` by step, uint8 ``[N, C, H, W]``; step 0 is untrained."""
    return dict(zip(state["samples.steps"].tolist(), state["samples"], strict=True))


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0]
    restore = command("dvc", "checkout", "--force", FOLDER)
    remedy = _remedy(path, f"{restore} restores it, `dvc repro -f train` remakes it")
    return UserError(f"{path} is damaged ({reason}){remedy}")


def _remedy(path: Path, remedy: str) -> str:
    """What to do about a file of models/generator; nothing is known of files elsewhere."""
    return f": {remedy}" if path.absolute().is_relative_to(FOLDER.absolute()) else ""
