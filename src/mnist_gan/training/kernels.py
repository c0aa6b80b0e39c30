"""Layers that give what torch's give, in less time, with the same parameters and names.

Every one can be differentiated as often as torch's.
"""

from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import conv_transpose2d, pad

Layer = TypeVar("Layer", bound=nn.Module)


def accelerate(network: nn.Module, *, onednn: bool) -> None:
    """Replace layers of ``network`` in place where the faster one gives the same.

    These are each Upsample with the Conv2d after it, in the forms that UpsampleConv2d names, and with ``onednn`` each
    Linear. Whatever has hooks, parametrizations or a class of its own stays as it is.
    """
    for name, child in network.named_children():
        accelerate(child, onednn=onednn)
        if onednn and is_plain(child, nn.Linear):
            setattr(network, name, OneDnnLinear(child))
    if is_plain(network, nn.Sequential):
        for i in range(len(network) - 1):
            upsample, convolution = network[i], network[i + 1]
            if doubles(upsample) and keeps_size(convolution):
                network[i], network[i + 1] = nn.Identity(), UpsampleConv2d(convolution)


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
        and module.padding_mode == "zeros"
        and module.dilation == (1, 1)
        and module.groups == 1
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
        upsampled = conv_transpose2d(images, transposed_kernel(self.weight), stride=2, padding=1)
        if self.bias is None:
            return upsampled
        # Added afterwards: as an argument, oneDNN's backward pass takes as long for the bias as for all the rest.
        return upsampled.add_(self.bias.to(upsampled.dtype).view(1, -1, 1, 1))


def transposed_kernel(weight: Tensor) -> Tensor:
    """The transposed 4x4 kernel ``[C, D, 4, 4]`` of a 3x3 kernel ``[D, C, 3, 3]`` that follows upsampling."""
    padded = pad(weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
    kernel = padded[..., :-1, :-1] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., 1:, 1:]
    return kernel.contiguous(memory_format=torch.channels_last)


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
