"""A page that draws with a generator in any browser: plots/play.html, one file with the weights inside.

The generator is written down as a chain of plain layers, which the page's script computes. If a generator is no such
chain, or has a layer that the script does not know, the page says so. Large weights are float16, which moves an image
by one grey level at the most.
"""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import torch
from torch import Tensor, fx, nn
from torch.nn.functional import one_hot

from mnist_gan.training.generators import Checkpoint
from mnist_gan.training.kernels import doubles, is_square, keeps_size, transposed_kernel
from mnist_gan.variants import Conditional
from mnist_gan.variants._small import Mean

TEMPLATE = Path(__file__).with_name("_play.html.jinja")
HALVED = 4096
"""Numbers from which on a tensor is float16: fewer cost nothing in float32."""
LARGEST = 8_000_000
"""Bytes of weights: a page is in git, and in every run."""
TRIED = 16
"""Images by which the chain is compared with the generator."""

Description = dict[str, Any]
"""Of a layer, for the script."""


class UndrawableError(Exception):
    """The page cannot draw with this generator; the message says why."""


def page(final: Checkpoint, name: str, seen: Sequence[int]) -> str:
    """The page of a generator.

    Args:
        final: the generator, in eval mode.
        name: what people know it by.
        seen: by seed from 0 on, the class that the judges see in its image.
    """
    origin, weights = final.origin, Weights()
    about: Description = {
        "latents": origin.latent_dim,
        "shape": origin.image_shape,
        "noun": origin.classes.noun,
        "classes": origin.classes.names,
        "seen": list(seen),
        "name": name,
    }
    if isinstance(final.generator, Conditional):
        about["edges"] = torch.special.ndtri(final.generator.edges[1:-1].double()).tolist()
    try:
        about["layers"] = list(described(chain(final.generator, origin.latent_dim), weights))
        if len(weights.content) > LARGEST:
            raise UndrawableError(f"its weights take {len(weights.content) / 1e6:.0f} MB, and {LARGEST / 1e6:.0f} fit")
    except UndrawableError as error:
        about["undrawable"], weights = str(error), Weights()
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text())
    return template.render(about=about, packed=base64.b64encode(weights.content).decode())


class Weights:
    """Tensors as bytes, one after the other."""

    def __init__(self) -> None:
        self.content = b""

    def add(self, tensor: Tensor) -> Description:
        """Where ``tensor`` lies, and in which form."""
        halved = tensor.numel() >= HALVED
        start = len(self.content)
        self.content += (tensor.half() if halved else tensor.float()).contiguous().numpy().tobytes()
        return {"start": start, "count": tensor.numel(), "halved": halved}


@torch.inference_mode()
def chain(generator: nn.Module, latent_dim: int) -> list[nn.Module]:
    """The layers of ``generator`` in their order; the first takes latent vectors.

    That of a conditional one takes the class as one of K numbers, in the place of the first entry.

    Raises:
        UndrawableError: it is no chain.
    """
    layers = list(_traced(generator))
    latents = torch.randn(TRIED, latent_dim, generator=torch.Generator().manual_seed(0))
    values = latents
    if isinstance(generator, Conditional):
        chosen = one_hot(generator.labels(latents), len(generator.edges) - 1)
        values = torch.cat([chosen, latents[:, 1:]], dim=1)
    try:
        for layer in layers:
            values = layer(values)
        same = torch.allclose(values, generator(latents), atol=1e-4)
    except RuntimeError:  # shapes that do not fit
        same = False
    if not same:
        raise UndrawableError("its layers are no chain")
    return layers


def _traced(generator: nn.Module) -> Iterator[nn.Module]:
    if isinstance(generator, nn.Sequential):
        for child in generator:
            yield from _traced(child) if isinstance(child, nn.Sequential) else [child]
        return
    try:
        traced = fx.symbolic_trace(generator)
    except Exception as error:  # what Python code may do is more than can be traced
        raise UndrawableError(f"its layers are no chain ({type(error).__name__})") from None
    for node in traced.graph.nodes:
        if node.op == "call_module":
            yield traced.get_submodule(str(node.target))
        elif node.op not in ("placeholder", "output"):
            raise UndrawableError(f"it computes {node.name}")


def described(layers: Sequence[nn.Module], weights: Weights) -> Iterator[Description]:
    """Each layer in words that the script knows; its tensors go to ``weights``.

    Raises:
        UndrawableError: the script does not know a layer.
    """
    end = nn.Identity()
    for before, layer, after in zip([end, *layers[:-1]], layers, [*layers[1:], end], strict=True):
        match layer:
            case nn.Identity() | nn.Dropout() | nn.Dropout2d():
                pass
            case nn.Upsample() if doubles(layer) and keeps_size(after):
                pass  # part of the convolution
            case nn.Conv2d() if keeps_size(layer) and doubles(before):
                yield _transposed(transposed_kernel(layer.weight), layer.bias, 2, 1, weights)
            case nn.Conv2d() if keeps_size(layer):
                yield _transposed(layer.weight.flip(2, 3).transpose(0, 1), layer.bias, 1, 1, weights)
            case nn.ConvTranspose2d() if is_square(layer):
                yield _transposed(layer.weight, layer.bias, layer.stride[0], int(layer.padding[0]), weights)
            case nn.Linear():
                yield {
                    "kind": "linear",
                    "weight": weights.add(layer.weight.detach()),
                    "bias": weights.add(_or_zeros(layer.bias, layer.out_features)),
                }
            case nn.BatchNorm1d(running_mean=Tensor() as mean, running_var=Tensor() as variance, affine=True) | (
                nn.BatchNorm2d(running_mean=Tensor() as mean, running_var=Tensor() as variance, affine=True)
            ):
                scale = layer.weight.detach() / (variance + layer.eps).sqrt()
                shift = layer.bias.detach() - mean * scale
                yield {"kind": "scale", "scale": weights.add(scale), "shift": weights.add(shift)}
            case nn.LeakyReLU():
                yield {"kind": "leaky", "slope": layer.negative_slope}
            case nn.ReLU():
                yield {"kind": "leaky", "slope": 0}
            case nn.Tanh():
                yield {"kind": "tanh"}
            case Mean():
                yield {"kind": "mean", "count": layer.count}
            case nn.Unflatten(dim=1):
                yield {"kind": "shape", "shape": list(layer.unflattened_size)}
            case _:
                raise UndrawableError(f"it has a layer that this page does not know: {layer}")


def _transposed(kernel: Tensor, bias: Tensor | None, stride: int, padding: int, weights: Weights) -> Description:
    """A transposed convolution with ``kernel`` ``[C, D, S, S]``, which the script has as ``[D, S, S, C]``."""
    return {
        "kind": "transposed",
        "weight": weights.add(kernel.detach().permute(1, 2, 3, 0)),
        "bias": weights.add(_or_zeros(bias, kernel.shape[1])),
        "size": kernel.shape[2],
        "stride": stride,
        "padding": padding,
    }


def _or_zeros(bias: Tensor | None, count: int) -> Tensor:
    return torch.zeros(count) if bias is None else bias.detach()
