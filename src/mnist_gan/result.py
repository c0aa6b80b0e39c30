"""What one training leaves in models/generator, and nothing else: the only writer and reader of that folder.

generator.safetensors               the final generator; the SHA-256 of this file names the result
checkpoints/epoch-0010.safetensors  the generator after that epoch, the last one included
training.safetensors                the state of the training at its end: networks, optimizers, random numbers,
                                    the losses of every step, the samples and the steps they were taken at
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

from mnist_gan.config import Variant
from mnist_gan.errors import UserError
from mnist_gan.files import sha256, write_atomically
from mnist_gan.networks import build

FOLDER = Path("models/generator")
FINAL = FOLDER / "generator.safetensors"
TRAINING = FOLDER / "training.safetensors"


@dataclass(frozen=True)
class Origin:
    """How a generator came to be; stored in its file, so that the file alone rebuilds it and names its making."""

    variant: Variant
    latent_dim: int
    image_shape: tuple[int, int, int]
    epoch: int
    step: int
    train: Mapping[str, Any]
    """The train section of params.yaml."""
    data_sha256: str
    """Of the prepared training images and labels."""
    environment: Mapping[str, str]
    """What else determines the result: device, threads, precision, torch's version."""


def write_generator(path: Path, generator: nn.Module, origin: Origin) -> None:
    """Write weights and buffers in float32, with ``origin``."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in generator.state_dict().items()}
    metadata = {"origin": json.dumps(asdict(origin), sort_keys=True)}
    write_atomically(path, safetensors.torch.save(weights, metadata))


def read_generator(path: Path = FINAL) -> tuple[nn.Module, Origin]:
    """The generator in ``path``, on the CPU in eval mode, and its origin.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            fields = json.loads(file.metadata()["origin"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
        origin = Origin(**fields | {"image_shape": tuple(fields["image_shape"])})
        generator, _ = build(origin.variant, origin.latent_dim, origin.image_shape)
        generator.load_state_dict(weights)
    except FileNotFoundError:
        raise UserError(f"{path} not found: run `dvc repro train`") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None
    return generator.eval(), origin


def checkpoint_path(epoch: int, folder: Path = FOLDER) -> Path:
    """Where the generator after ``epoch`` is kept."""
    return folder / f"checkpoints/epoch-{epoch:04}.safetensors"


def checkpoint_paths(folder: Path = FOLDER) -> list[Path]:
    """The checkpoints that are there, by epoch."""
    return sorted(folder.glob("checkpoints/epoch-*.safetensors"), key=lambda path: int(path.stem[6:]))


def checkpoints() -> Iterator[tuple[nn.Module, Origin]]:
    """Every checkpoint, by epoch; raises UserError where there is none or one is damaged."""
    paths = checkpoint_paths()
    if not paths:
        raise UserError(f"{FOLDER} holds no checkpoint: run `dvc repro train`")
    for path in paths:
        yield read_generator(path)


def content_hash() -> str:
    """The name of this result: SHA-256 of the final generator's file."""
    read_generator()
    return sha256(FINAL.read_bytes())


def finish(folder: Path, generator: nn.Module, origin: Origin, state: Mapping[str, Tensor]) -> None:
    """Put the result that ``folder`` holds the checkpoints of in its place; ``folder`` stays."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    shutil.copytree(folder, FOLDER)
    write_generator(FINAL, generator, origin)
    write_atomically(TRAINING, safetensors.torch.save(dict(state)))


def read_losses() -> Tensor:
    """RECORD's values of every step, float32 ``[steps, 4]``; raises UserError where the file is missing or damaged."""
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
