"""What the judges and the autoencoder share: how they see images, how they are trained, and their committed files."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mnist_gan.config import FrozenConfig
from mnist_gan.data.images import resize, to_float
from mnist_gan.data.prepared import Split
from mnist_gan.data.raw import read_about, read_raw
from mnist_gan.errors import UserError, command
from mnist_gan.files import sha256, write_atomically
from mnist_gan.training.adam import Adam

SIZE = 32
"""Height and width in pixels that the frozen networks see; other sizes are resized to it."""
LEAST_STEPS = 320
"""Optimizer steps that a network learns for, however few the images are."""
REPORTS = 8
"""How often a training says how far it has come, at the most."""
SHIFT = 2
"""Largest shift in pixels of a training image, in each direction."""


class Sized(nn.Module):
    """A network that sees images of one size."""

    size: int
    """Their height and width in pixels."""
    channels: int
    """1 or 3."""


Network = TypeVar("Network", bound=Sized)


def view(images: Tensor, network: Sized) -> Tensor:
    """uint8 ``[N, C, H, W]`` as ``network`` sees it: float32 in [-1, 1], in its size and channels.

    One that sees grey gets the mean of the colours.
    """
    seen = to_float(images)
    if seen.shape[1] != network.channels:
        seen = seen.mean(dim=1, keepdim=True).expand(-1, network.channels, -1, -1)
    if seen.shape[-1] != network.size:
        seen = interpolate(seen, network.size, mode="bilinear", antialias=True)
    return seen.contiguous(memory_format=torch.channels_last)


def fit(
    build: Callable[[], Network],
    loss_of: Callable[[Network, Tensor, Tensor], Tensor],
    options: FrozenConfig,
    split: Split,
    report: Callable[[int, float], None],
) -> Network:
    """Train what ``build`` makes on uint8 images; ``report`` gets the number and mean loss of REPORTS epochs.

    Adam under a one-cycle schedule (Smith and Topin 2017, arXiv 1708.07120), images shifted at random.

    Args:
        loss_of: a scalar from the network, images ``[N, channels, size, size]`` in [-1, 1] and labels ``[N]``.
    """
    torch.manual_seed(options.seed)
    network = build().to(memory_format=torch.channels_last).train()
    optimizer = Adam(network.parameters(), options.lr, (0.95, 0.999))
    steps = len(split.images) // options.batch_size
    cycle = one_cycle(options.lr, options.epochs * steps)
    labels = split.labels.long()
    for epoch in range(1, options.epochs + 1):
        total = 0.0
        for indices in torch.randperm(len(labels))[: steps * options.batch_size].split(options.batch_size):
            optimizer.lr, beta1 = next(cycle)
            optimizer.betas = (beta1, 0.999)
            loss = loss_of(network, shift(view(split.images[indices], network)), labels[indices])
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch * REPORTS // options.epochs > (epoch - 1) * REPORTS // options.epochs:
            report(epoch, total / steps)
    return network


def one_cycle(largest: float, steps: int) -> Iterator[tuple[float, float]]:
    """Learning rate and Adam's decay of the first moment, for each step: torch's ``OneCycleLR`` to the bit.

    The rate goes up from 1/25 of the ``largest`` in three tenths of the steps and then down to nothing, each half a
    cosine; the decay goes the other way, between 0.95 and 0.85.
    """

    def between(start: float, end: float, way: float) -> float:
        return end + (start - end) / 2.0 * (math.cos(math.pi * way) + 1)

    first, top = largest / 25, 0.3 * steps - 1
    for step in range(steps):
        if step <= top:
            yield between(first, largest, step / top), between(0.95, 0.85, step / top)
        else:
            way = (step - top) / (steps - 1 - top)
            yield between(largest, first / 1e4, way), between(0.85, 0.95, way)


def for_so_many(images: int, options: FrozenConfig) -> FrozenConfig:
    """``options`` with smaller batches and more epochs where the images are few, for LEAST_STEPS at least."""
    batch_size = min(options.batch_size, max(2, images // 16))
    epochs = max(options.epochs, -(-LEAST_STEPS // (images // batch_size)))
    return options.model_copy(update={"batch_size": batch_size, "epochs": epochs})


def learned_from(name: str) -> Split:
    """The raw ``train`` or ``test`` split in the size that the networks see, whatever size is trained on."""
    raw = read_raw(name)
    return replace(raw, images=resize(raw.images, SIZE, raw.images.shape[1]))


def shift(images: Tensor) -> Tensor:
    """``images``, all moved by one random offset of up to SHIFT pixels in each direction; the border moves around."""
    offset = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
    return images.roll(offset, dims=(2, 3))


def take_committed(section: str, options: FrozenConfig, out: Path) -> bool:
    """Whether the data set's networks in ``out`` are in git, made with these ``options``; then they are copied there.

    Args:
        section: of params.yaml, which has the options: ``judges`` or ``autoencoder``.

    Raises:
        UserError: a file is missing or damaged.
    """
    networks = read_about().networks
    if not networks or getattr(networks, section) != options:
        return False
    for name, expected in networks.sha256.items():
        if name.startswith(section):
            committed = Path(networks.folder, name)
            if not committed.exists() or sha256(content := committed.read_bytes()) != expected:
                restore = command("git", "checkout", committed)
                raise UserError(f"{committed} is missing or damaged: {restore} restores it")
            write_atomically(out.parent / name, content)
    return True


def write(network: nn.Module, path: Path) -> None:
    """Write the weights to ``path``."""
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_atomically(path, safetensors.torch.save(weights))


def read(of: Callable[[Mapping[str, Tensor]], Network], path: Path) -> Network:
    """The network with the weights at ``path``, in eval mode, shortened for that; ``of`` builds it for their shapes.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        weights = safetensors.torch.load_file(path)
        network = of(weights)
        network.to(memory_format=torch.channels_last).load_state_dict(weights)
    except (OSError, KeyError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        restore = command("dvc", "checkout", "--force", path)
        raise UserError(f"{path} cannot be read ({reason}): {restore} restores it") from None
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            _shorten(module)
    return network


def _shorten(layers: nn.Sequential) -> None:
    """Half of the work, for the same values.

    Each BatchNorm that follows a convolution is folded into its weights, and what is cut at zero is cut after pooling,
    which leaves a quarter of it.
    """
    for index, (layer, following) in enumerate(itertools.pairwise(layers)):
        if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            layers[index], layers[index + 1] = fuse_conv_bn_eval(layer, following), nn.Identity()
        elif isinstance(layer, nn.ReLU) and isinstance(following, nn.MaxPool2d):
            layers[index], layers[index + 1] = following, layer
