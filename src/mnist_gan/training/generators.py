"""What one training leaves in models/generator, and nothing else: the only writer and reader of that folder.

generator.safetensors               the final generator; the SHA-256 of this file names the result
checkpoints/epoch-0010.safetensors  the generator after that epoch, the last one included
training.safetensors                the state of the training at its end: networks, optimizers, random numbers,
                                    the record of every step, the samples and the steps they were taken at
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mnist_gan import variants
from mnist_gan.errors import UserError
from mnist_gan.files import sha256, write_atomically

FOLDER = Path("models/generator")
FINAL = FOLDER / "generator.safetensors"
TRAINING = FOLDER / "training.safetensors"


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

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        return int(self.shared["latent_dim"])

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
    """Write weights and buffers in float32, with everything else as metadata."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in checkpoint.generator.state_dict().items()}
    made = {"origin": asdict(checkpoint.origin), "epoch": checkpoint.epoch, "step": checkpoint.step}
    # One entry: safetensors writes several in a random order.
    write_atomically(path, safetensors.torch.save(weights, {"made": json.dumps(made, sort_keys=True)}))


def read(path: Path = FINAL) -> Checkpoint:
    """The generator in ``path``, on the CPU in eval mode.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            made = json.loads(file.metadata()["made"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
        fields = made["origin"]
        origin = Origin(**fields | {key: tuple(fields[key]) for key in ("image_shape", "record")})
        options = variants.parse(origin.variant, origin.options)
        generator = variants.build(origin.variant, options, origin.latent_dim, origin.image_shape).generator
        generator.load_state_dict(weights)
        return Checkpoint(generator.eval(), origin, made["epoch"], made["step"])
    except FileNotFoundError:
        raise UserError(f"{path} not found: run `dvc repro train`") from None
    except ModuleNotFoundError:
        raise UserError(f"{path} is of a variant that src/mnist_gan/variants does not have: {origin.variant}") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
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
    read()
    return sha256(FINAL.read_bytes())


def finish(folder: Path, final: Checkpoint, state: Mapping[str, Tensor]) -> None:
    """Put the result that ``folder`` holds the checkpoints of in its place; ``folder`` stays."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    shutil.copytree(folder, FOLDER)
    write(FINAL, final)
    write_atomically(TRAINING, safetensors.torch.save(dict(state)))


def read_losses() -> Tensor:
    """The record of every step, float32 ``[steps, R]``; raises UserError where the file is missing or damaged."""
    return _read("losses")


def read_samples() -> dict[int, Tensor]:
    """The fixed latents' images by step, uint8 ``[N, C, H, W]``; step 0 is untrained. Raises as ``read_losses``."""
    return dict(zip(_read("samples.steps").tolist(), _read("samples"), strict=True))


def _read(name: str) -> Tensor:
    try:
        with safe_open(TRAINING, "pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor
    except (OSError, SafetensorError) as error:
        raise _damaged(TRAINING, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0]
    return UserError(
        f"{path} is damaged ({reason}): `dvc checkout {FOLDER}` restores it, `dvc repro -f train` remakes it"
    )
