"""Layers that give what torch's give, in less time, with the same parameters and names.

Every one can be differentiated as often as torch's.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import conv_transpose2d, pad

from mnist_gan.config import Precision

Layer = TypeVar("Layer", bound=nn.Module)
PLACES = ("stride", "padding", "output_padding", "groups", "dilation")
"""What says where the taps of a transposed convolution write."""
IMAGE_CHANNELS = 3
"""The most that an image has: red, green and blue."""


def accelerate(network: nn.Module, device: torch.device, precision: Precision) -> None:
    """Replace layers of ``network`` in place where the faster one gives the same on ``device``.

    These are each Upsample with the Conv2d after it, in the forms that UpsampleConv2d names; on a CPU also the
    convolutions that read or write an image, the other transposed ones, and in float32 each Linear. Whatever has
    hooks, parametrizations or a class of its own stays as it is.
    """
    if is_plain(network, nn.Sequential):
        for i in range(len(network) - 1):
            upsample, convolution = network[i], network[i + 1]
            if doubles(upsample) and keeps_size(convolution):
                network[i], network[i + 1] = nn.Identity(), UpsampleConv2d(convolution)
    for name, child in network.named_children():
        accelerate(child, device, precision)
        if device.type == "cpu":
            if precision == "float32" and is_plain(child, nn.Linear):
                setattr(network, name, OneDnnLinear(child))
            elif reads_an_image(child):
                setattr(network, name, FromImage(child))
            elif writes_an_image(child):
                setattr(network, name, ToImage(child))
            elif is_plain(child, nn.ConvTranspose2d):
                setattr(network, name, BiasAfter(child))


def is_plain(module: nn.Module, kind: type[Layer]) -> TypeGuard[Layer]:
    """Whether ``module`` is of that very class, and nothing looks into or changes its passes."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return type(module) is kind and not any(hooks)


def doubles(module: nn.Module) -> TypeGuard[nn.Upsample]:
    """Whether ``module`` repeats each pixel in two rows and two columns, and nothing else."""
    return (
        is_plain(module, nn.Upsample)
        and module.mode == "nearest"
        and module.size is None
        and module.scale_factor in (2, (2, 2))
    )


def keeps_size(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether ``module`` is a 3x3 convolution that meets each pixel with every tap, with zeros around the image."""
    return (
        is_plain(module, nn.Conv2d)
        and module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.padding in ((1, 1), "same")
        and is_simple(module)
    )


def reads_an_image(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether ``module`` is a convolution from an image's channels."""
    return is_plain(module, nn.Conv2d) and module.in_channels <= IMAGE_CHANNELS and is_square(module)


def writes_an_image(module: nn.Module) -> TypeGuard[nn.Conv2d | nn.ConvTranspose2d]:
    """Whether ``module`` is a transposed convolution to an image's channels, or one that can be read so."""
    if is_plain(module, nn.ConvTranspose2d):
        return module.out_channels <= IMAGE_CHANNELS and is_square(module)
    return (
        is_plain(module, nn.Conv2d)
        and module.out_channels <= IMAGE_CHANNELS
        and module.stride == (1, 1)
        and is_square(module)
        and int(module.padding[0]) < module.kernel_size[0]
    )


def is_square(module: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether ``module`` is the same in both directions."""
    return (
        isinstance(module.padding, tuple)
        and all(len(set(sides)) == 1 for sides in (module.kernel_size, module.stride, module.padding))
        and is_simple(module)
    )


def is_simple(module: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether ``module`` has zeros around the image, no gaps between its taps, and one group of channels."""
    return (
        module.padding_mode == "zeros"
        and module.dilation == (1, 1)
        and module.groups == 1
        and module.output_padding == (0, 0)
    )


class UpsampleConv2d(nn.Module):
    """Nearest-neighbour ``Upsample(scale_factor=2)`` and a 3x3 ``Conv2d(padding=1)`` as one transposed convolution.

    Upsampling repeats each pixel, so that several taps of the 3x3 kernel meet the same one. Added up beforehand they
    make a 4x4 kernel of stride 2 that reads the small image: 16 products for each of its pixels, not 36.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias

    def forward(self, images: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, D, 2H, 2W]``."""
        return plus(conv_transpose2d(images, transposed_kernel(self.weight), stride=2, padding=1), self.bias)


def transposed_kernel(weight: Tensor) -> Tensor:
    """The transposed 4x4 kernel ``[C, D, 4, 4]`` of a 3x3 kernel ``[D, C, 3, 3]`` that follows upsampling."""
    padded = pad(weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
    kernel = padded[..., :-1, :-1] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., 1:, 1:]
    return kernel.contiguous(memory_format=torch.channels_last)


class BiasAfter(nn.Module):
    """``ConvTranspose2d`` with its bias added after it."""

    def __init__(self, convolution: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias
        self.places = {name: getattr(convolution, name) for name in PLACES}

    def forward(self, inputs: Tensor) -> Tensor:
        """``[N, C, h, w]`` to ``[N, D, H, W]``."""
        return plus(conv_transpose2d(inputs, self.weight, **self.places), self.bias)


def plus(outputs: Tensor, bias: Tensor | None) -> Tensor:
    """``outputs`` ``[N, D, H, W]``, changed in place by the bias ``[D]`` if there is one.

    As an argument of the convolution, oneDNN's backward pass takes as long for the bias as for half of the rest.
    """
    return outputs if bias is None else outputs.add_(bias.to(outputs.dtype).view(1, -1, 1, 1))


class Grid(NamedTuple):
    """Where the taps of a ``size x size`` kernel meet an image."""

    size: int
    stride: int
    padding: int

    def positions(self, sides: Sequence[int]) -> list[int]:
        """How many places the kernel has along ``sides`` of an image."""
        return [(side + 2 * self.padding - self.size) // self.stride + 1 for side in sides]


class FromImage(nn.Module):
    """``Conv2d`` from an image as one product of all that its taps read.

    A library's convolution adds up over channels in its inmost loop, and an image has one or three.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias
        self.grid = Grid(convolution.kernel_size[0], convolution.stride[0], int(convolution.padding[0]))

    def forward(self, images: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, D, h, w]``, channels last in memory."""
        images, weight = as_autocast(images, self.weight)
        taps = Taps.apply(images, self.grid).t()
        kernel = weight.permute(2, 3, 1, 0).flatten(0, 2)
        outputs = taps @ kernel if self.bias is None else torch.addmm(self.bias.to(taps.dtype), taps, kernel)
        return outputs.view(len(images), *self.grid.positions(images.shape[2:]), -1).permute(0, 3, 1, 2)


class ToImage(nn.Module):
    """``ConvTranspose2d`` to an image as one product and the sum of what its taps write.

    Also ``Conv2d`` of stride 1, which is a transposed one of the kernel turned round.
    """

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias
        size, padding = convolution.kernel_size[0], int(convolution.padding[0])
        self.transposed = isinstance(convolution, nn.ConvTranspose2d)
        self.grid = Grid(size, convolution.stride[0], padding if self.transposed else size - 1 - padding)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[N, D, h, w]`` to ``[N, C, H, W]``, in float32."""
        inputs, weight = as_autocast(inputs, self.weight)
        kernel = weight if self.transposed else weight.flip(2, 3).transpose(0, 1)
        taps = kernel.permute(2, 3, 1, 0).flatten(0, 2) @ inputs.permute(0, 2, 3, 1).flatten(0, 2).t()
        size, stride, padding = self.grid
        sides = [(side - 1) * stride + size - 2 * padding for side in inputs.shape[2:]]
        images: Tensor = Overlap.apply(taps, (len(inputs), kernel.shape[1], *sides), self.grid)
        return images if self.bias is None else images + self.bias.view(1, -1, 1, 1)


def as_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """``tensors`` in the precision that autocast asks for on a CPU, if it asks."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype("cpu")) for tensor in tensors)


class Taps(Function):
    """What each tap reads in images ``[N, C, H, W]``: ``[size * size * C, N * h * w]``."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Grid) -> Tensor:
        ctx.arguments = images.shape, grid
        padded = pad(images.transpose(0, 1), (grid.padding,) * 4).contiguous()
        channel, image, row, column = padded.stride()
        read = padded.as_strided(
            (grid.size, grid.size, *padded.shape[:2], *grid.positions(images.shape[2:])),
            (row, column, channel, image, grid.stride * row, grid.stride * column),
        )
        return read.reshape(grid.size**2 * images.shape[1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return Overlap.apply(*gradients, *ctx.arguments), None


class Overlap(Function):
    """Images ``[N, C, H, W]``, float32, each pixel the sum of what taps write to it: the transpose of ``Taps``."""

    @staticmethod
    def forward(ctx: Any, taps: Tensor, shape: Sequence[int], grid: Grid) -> Tensor:
        ctx.grid, ctx.dtype = grid, taps.dtype
        size, stride, padding = grid
        count, channels, *sides = shape
        height, width = grid.positions(sides)
        padded = torch.zeros(channels, count, *(side + 2 * padding for side in sides))
        written = taps.view(size, size, channels, count, height, width)
        for i in range(size):
            for j in range(size):
                padded[..., i::stride, j::stride][..., :height, :width] += written[i, j]
        return padded[..., padding : padding + sides[0], padding : padding + sides[1]].transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        return Taps.apply(gradient.to(ctx.dtype), ctx.grid), None, None


class OneDnnLinear(nn.Module):
    """``Linear`` by oneDNN, in float32 on a CPU.

    It uses AVX-512 wherever the processor has it. MKL, torch's choice for float32, does not on AMD's, and takes twice
    the time.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """``[..., K]`` to ``[..., M]``."""
        rows: Tensor = Product.apply(inputs.reshape(-1, inputs.shape[-1]), self.weight, self.bias)
        return rows.view(*inputs.shape[:-1], -1)


class Product(Function):
    """``left @ right.T + bias`` by oneDNN, of ``[N, K]``, ``[M, K]`` and ``[M]`` or None.

    Its gradients are products of the same kind, so that it can be differentiated again.
    """

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(left, right)
        return product(left, right, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        (gradient,) = gradients
        wants_left, wants_right, wants_bias = ctx.needs_input_grad
        return (
            Product.apply(gradient, right.t(), None) if wants_left else None,
            Product.apply(gradient.t(), left.t(), None) if wants_right else None,
            gradient.sum(dim=0) if wants_bias else None,
        )


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """``left @ right.T + bias`` by oneDNN, of ``[N, K]``, ``[M, K]`` and ``[M]``; autograd does not see it."""
    outputs: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return outputs
