"""params.yaml as frozen, validated objects. This is the only reader of params.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from mnist_gan.errors import UserError, command

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
MOST_THREADS = 1024
REQUESTS = ("train.device", "train.precision", "train.threads")
"""Options that ask for something. What determines a result is what the machine makes of them: its environment."""
NO_START = "none"
"""``train.init_from`` of a training that begins with untrained networks."""
Options = TypeVar("Options", bound=BaseModel)

VARIANTS = sorted(path.stem for path in Path(__file__).with_name("variants").glob("[a-z]*.py"))
"""The names of all variants: each is a file."""


def _check_img_size(size: int) -> int:
    if size % 16 or not 16 <= size <= 64:
        raise ValueError(
            "must be a multiple of 16 from 16 to 64, because DCGAN's discriminator halves images four times and "
            "MNIST's 28 pixels fill no more than 64"
        )
    return size


def _check_variant(name: str) -> str:
    if name not in VARIANTS:
        raise ValueError(f"must be one of {', '.join(VARIANTS)}")
    return name


def _check_threads(number: object) -> object:
    if number != "auto" and (type(number) is not int or not 1 <= number <= MOST_THREADS):
        raise ValueError(f"must be auto or a whole number from 1 to {MOST_THREADS}")
    return number


ImgSize = Annotated[int, AfterValidator(_check_img_size)]
Threads = Annotated[Literal["auto"] | int, BeforeValidator(_check_threads)]
VariantName = Annotated[str, AfterValidator(_check_variant)]


class Section(BaseModel):
    """Base of every section: exact types, no unknown keys, finite numbers, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Which images."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
    """A file of data/sets."""


class DownloadConfig(Section):
    """Where MNIST comes from."""

    mirrors: list[Annotated[str, Field(pattern="^https?://")]]


class PrepareConfig(Section):
    """The shape of the prepared images."""

    img_size: ImgSize
    channels: Literal["auto", 1, 3]


class FrozenConfig(Section):
    """Training of a network that measures quality: a judge or the autoencoder."""

    seed: Seed
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]


class TrainConfig(Section):
    """Training of the generator: what all variants share."""

    variant: VariantName
    latent_dim: Annotated[int, Field(ge=1, le=10_000)]
    sample_interval: Count
    checkpoints: Count
    seed: Seed
    device: Device
    precision: Precision
    threads: Threads
    deterministic: bool
    init_from: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]


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

    data: DataConfig
    download: DownloadConfig
    prepare: PrepareConfig
    judges: FrozenConfig
    autoencoder: FrozenConfig
    train: TrainConfig
    variants: dict[str, dict[str, Any]]
    """A section for each variant; the variant's own file says what is allowed in it."""
    render: RenderConfig
    evaluate: EvaluateConfig

    @property
    def variant(self) -> dict[str, Any]:
        """The section of the variant that is selected."""
        return self.variants[self.train.variant]


def load(path: Path = Path("params.yaml")) -> Config:
    """Read and validate ``path``, as DVC reads it; every problem is named in one UserError."""
    try:
        content = YAML(typ="safe").load(path.read_text())
    except OSError as error:
        restore = command("git", "checkout", path)
        raise UserError(f"{path} cannot be read ({error.strerror}): {restore} restores it") from None
    except Exception as error:  # ruamel.yaml fails in many ways beside its YAMLError
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    config = validate(Config, content)
    if unknown := sorted(config.variants.keys() - set(VARIANTS)):
        raise UserError(f"{path}: variants.{unknown[0]}: unknown key: src/mnist_gan/variants has no {unknown[0]}.py")
    if config.train.variant not in config.variants:
        raise UserError(f"{path}: variants.{config.train.variant}: missing")
    return config


def validate(section: type[Options], content: Any, name: str = "", path: Path | str = "params.yaml") -> Options:
    """``content`` of a file as a ``section``.

    Args:
        section: what is allowed.
        content: what was read.
        name: the key that ``content`` was read from; empty for the whole file.
        path: of the file.

    Raises:
        UserError: names every problem.
    """
    try:
        return section.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(_explain(problem, name) for problem in error.errors())
        raise UserError(f"{path}: {problems}") from None


def _explain(problem: Mapping[str, Any], name: str) -> str:
    """One problem of pydantic's list as ``section.key: what is allowed, what was given``."""
    key = ".".join(map(str, [name, *problem["loc"]] if name else problem["loc"])) or "the file"
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key"
        case "string_type":
            return f"{key}: must be text; quote it: {problem['input']!r} is no text to YAML"
        case "missing":
            return f"{key}: missing"
        case _:
            message = problem["msg"].removeprefix("Value error, ")
            return f"{key}: {message[0].lower()}{message[1:]}, not {problem['input']!r}"
