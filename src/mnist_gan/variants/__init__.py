"""Variants: one file each, with its options, its two networks and its step.

A variant is mathematics alone: tensors in, losses out; no file, no log, no device. Its file needs nothing of the
project but this one. Training enters by ``parse`` and ``build``.
"""

import importlib
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from pydantic import Field
from torch import Tensor, nn

from mnist_gan.config import Section, validate

ImageShape = tuple[int, int, int]
"""Channels, height, width; height and width are equal and a multiple of 16."""


class Options(Section):
    """What every variant has in its section of params.yaml."""

    fixed: ClassVar[tuple[str, ...]] = ("batch_size",)
    """The options that a training must have in common with another from whose end it goes on."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    """The record of every step is in memory: at the most, some gigabytes."""
    batch_size: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    """Learning rate of Adam, for both networks."""
    b1: Annotated[float, Field(ge=0, lt=1)]
    """Adam's decay of the first moment, and Muon's."""
    b2: Annotated[float, Field(ge=0, lt=1)]
    """And of the second."""


class Update(NamedTuple):
    """A part of a step: ``loss``, a scalar, is to be made smaller by one update of ``network``."""

    network: nn.Module
    loss: Tensor
    keep_graph: bool = False
    """Whether a later loss of this step comes from the same graph."""


Step = Generator[Update, None, Tensor]
"""Yields each update before what depends on it is computed; returns the record's values."""


class Variant(nn.Module):
    """Two networks and the game between them."""

    record: ClassVar[tuple[str, ...]]
    """Names of the values that a step returns: ``loss_g`` and ``loss_d`` first, then what the variant adds."""
    labelled: ClassVar[bool] = False
    """Whether a step takes the labels of the real images, too, and the constructor the number of classes."""
    auto_bfloat16: ClassVar[bool] = True
    """Whether ``precision: auto`` may mean bfloat16."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, latent_dim: int) -> None:
        """Take both networks.

        Args:
            generator: latent vectors ``[N, latent_dim]`` to images ``[N, C, H, W]`` in [-1, 1].
            discriminator: images to logits ``[N, 1]``, larger for real ones.
            latent_dim: length of a latent vector.
        """
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.latent_dim = latent_dim

    @abstractmethod
    def step(self, real: Tensor, *args: Any, **kind: Any) -> Step:
        """One step on real images ``[N, C, H, W]`` in [-1, 1]; returns the record's values, detached.

        Args:
            real: fresh images; the step draws its own latent vectors and whatever else is random.
            args: their labels ``[N]``, of a variant that is ``labelled``; else none.
            kind: what ``kind`` returned.
        """

    def see(self, batches: Iterable[Tensor]) -> None:
        """Look at all training images, ``[N, C, H, W]`` in [-1, 1] in each batch, before the first step."""

    def kind(self, step: int) -> Mapping[str, bool]:
        """Keyword arguments of ``step`` for the step after ``step`` others; there are few different ones."""
        return {}

    def rate(self, done: float) -> float:
        """The part of the learning rate that counts where the part ``done`` of the training is done."""
        return 1.0

    @property
    def by_muon(self) -> Sequence[nn.Parameter]:
        """The weights that are trained by Muon; all others are by Adam."""
        return ()

    @property
    def drawn(self) -> nn.Module:
        """The generator that images are drawn from."""
        return self.generator

    def latents(self, real: Tensor) -> Tensor:
        """Standard normal vectors ``[N, latent_dim]``, one for each of the images ``real``."""
        return real.new_empty(len(real), self.latent_dim).normal_()


@runtime_checkable
class Conditional(Protocol):
    """A generator that can be told the class: the first entry of a latent vector says it."""

    @property
    def edges(self) -> Tensor:
        """Where the classes' pieces of the normal distribution end: its shares ``[classes + 1]`` from 0 to 1."""

    def labels(self, latents: Tensor) -> Tensor:
        """Which class ``[N]`` each of ``latents`` ``[N, latent_dim]`` is of."""

    def of_class(self, labels: Tensor, latents: Tensor) -> Tensor:
        """``latents`` ``[N, latent_dim]`` moved to where images with ``labels`` ``[N]`` are drawn."""


def parse(name: str, section: Mapping[str, Any]) -> Options:
    """The options of the variant ``name`` from its section of params.yaml.

    Raises:
        UserError: a value is not allowed.
    """
    options: type[Options] = importlib.import_module(f"{__name__}.{name}").Options
    return validate(options, section, f"variants.{name}")


def named(name: str) -> type[Variant]:
    """The variant ``name``."""
    variant: type[Variant] = importlib.import_module(f"{__name__}.{name}").Variant
    return variant


def build(name: str, options: Options, latent_dim: int, image_shape: ImageShape, classes: int = 10) -> Variant:
    """The variant ``name`` with untrained networks, in train mode, for images of so many ``classes``."""
    variant: Callable[..., Variant] = named(name)
    told = (classes,) if named(name).labelled else ()
    return variant(options, latent_dim, image_shape, *told)
