"""params.yaml as frozen, validated objects. This is the only reader of params.yaml."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mnist_gan.errors import UserError

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Decay = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0)]


def _check_img_size(size: int) -> int:
    if size % 16 or not 16 <= size <= 64:
        raise ValueError(
            "must be a multiple of 16 from 16 to 64, because DCGAN's discriminator halves images four times and "
            "MNIST's 28 pixels fill no more than 64"
        )
    return size


ImgSize = Annotated[int, AfterValidator(_check_img_size)]
Variant = Literal["gan", "dcgan"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]


class Section(BaseModel):
    """Base of every section: exact types, no unknown keys, finite numbers, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class DownloadConfig(Section):
    """Where MNIST comes from."""

    mirrors: list[Annotated[str, Field(pattern="^https?://")]]


class PrepareConfig(Section):
    """The shape of the prepared images."""

    img_size: ImgSize
    channels: Literal[1, 3]


class FrozenConfig(Section):
    """Training of a network that measures quality: the judge and the autoencoder."""

    seed: Seed
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    lr: LearningRate


class TrainConfig(Section):
    """Training of the generator."""

    variant: Variant
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    lr: LearningRate
    b1: Decay
    b2: Decay
    latent_dim: Count
    sample_interval: Count
    checkpoint_interval: Count
    seed: Seed
    device: Device
    precision: Precision
    deterministic: bool
    init_from: Annotated[str, Field(pattern="^[0-9a-f]{12,64}$")] | None


class RenderConfig(Section):
    """Size of the rendered pictures."""

    columns: Annotated[int, Field(ge=2, le=25)]
    interpolation_steps: Annotated[int, Field(ge=2)]


class EvaluateConfig(Section):
    """Size and seed of the judged sample."""

    samples: Annotated[int, Field(ge=1000, le=60000)]
    seed: Seed


class Config(Section):
    """All of params.yaml."""

    download: DownloadConfig
    prepare: PrepareConfig
    judge: FrozenConfig
    autoencoder: FrozenConfig
    train: TrainConfig
    render: RenderConfig
    evaluate: EvaluateConfig


class Loader(yaml.SafeLoader):
    """SafeLoader that reads ``2e-4`` as a number, as YAML 1.2 and DVC do; YAML 1.1 wants ``2.0e-4``."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load(path: Path = Path("params.yaml")) -> Config:
    """Read and validate ``path``; every problem is named in one UserError."""
    try:
        return Config.model_validate(yaml.load(path.read_text(), Loader))  # noqa: S506, a SafeLoader
    except FileNotFoundError:
        raise UserError(f"{path} not found: run in the repository's root") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise UserError(f"{path}: {'; '.join(map(_explain, error.errors()))}") from None


def _explain(problem: Any) -> str:
    """One problem of pydantic's list as ``section.key: what is allowed, what was given``."""
    key = ".".join(map(str, problem["loc"])) or "the file"
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key"
        case "missing":
            return f"{key}: missing"
        case _:
            message = problem["msg"].removeprefix("Value error, ")
            return f"{key}: {message[0].lower()}{message[1:]}, not {problem['input']!r}"
