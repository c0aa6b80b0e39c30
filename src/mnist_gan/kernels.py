"""Layers and an optimizer that give what torch's give, in less time, with the same parameters and names."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import conv_transpose2d, pad


def accelerate(network: nn.Module, *, onednn: bool) -> None:
    """Replace layers of ``network`` in place: Upsample and the Conv2d behind it, and with ``onednn`` each Linear."""
    for child in network.children():
        accelerate(child, onednn=onednn)
    if isinstance(network, nn.Sequential):
        for i, layer in enumerate(network):
            if isinstance(layer, nn.Conv2d) and isinstance(network[i - 1], nn.Upsample):
                network[i - 1], network[i] = nn.Identity(), UpsampleConv2d(layer)
            elif isinstance(layer, nn.Linear) and onednn:
                network[i] = OneDnnLinear(layer)


class UpsampleConv2d(nn.Module):
    """``Upsample(scale_factor=2)`` and a 3x3 ``Conv2d(padding=1)`` as one transposed convolution of stride 2.

    Nearest-neighbour upsampling repeats each pixel, so that several taps of the 3x3 kernel meet the same one. Added
    up beforehand they make a 4x4 kernel that reads the small image: 16 products for each of its pixels, not 36.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias

    def forward(self, images: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, D, 2H, 2W]``."""
        upsampled = conv_transpose2d(images, transposed_kernel(self.weight), stride=2, padding=1)
        assert self.bias is not None
        # Added afterwards: as an argument, oneDNN's backward pass takes as long for the bias as for all the rest.
        return upsampled.add_(self.bias.to(upsampled.dtype).view(1, -1, 1, 1))


def transposed_kernel(weight: Tensor) -> Tensor:
    """The transposed 4x4 kernel ``[C, D, 4, 4]`` of a 3x3 kernel ``[D, C, 3, 3]`` behind upsampling."""
    padded = pad(weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
    kernel = padded[..., :-1, :-1] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., 1:, 1:]
    return kernel.contiguous(memory_format=torch.channels_last)


class OneDnnLinear(nn.Module):
    """``Linear`` by oneDNN.

    It uses AVX-512 wherever the processor has it. MKL, torch's choice for float32, does not on AMD's, and takes twice
    the time.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """``[N, K]`` to ``[N, M]``."""
        outputs: Tensor = _OneDnnLinear.apply(inputs, self.weight, self.bias)
        return outputs


class _OneDnnLinear(Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return product(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        (gradient,) = gradients
        wants_inputs, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            product(gradient, weight.t()) if wants_inputs else None,
            product(gradient.t(), inputs.t()) if wants_weight else None,
            gradient.sum(dim=0) if wants_bias else None,
        )


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """``left @ right.T + bias`` by oneDNN, of ``[N, K]``, ``[M, K]`` and ``[M]``."""
    outputs: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return outputs


class FusedAdam:
    """torch's fused Adam (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1), called without what surrounds it.

    All parameters share one count of steps. ``torch.optim.Adam`` takes as long in Python as GAN's networks in a layer.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float]) -> None:
        """``parameters``: all on one device."""
        self.parameters: list[Tensor] = list(parameters)
        self.exp_avgs = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.exp_avg_sqs = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = torch.zeros((), device=self.parameters[0].device)
        self.lr = lr
        self.beta1, self.beta2 = betas

    def state(self) -> dict[str, Tensor]:
        """The moments and the count of steps, as they are in use."""
        moments = {f"exp_avg.{i}": moment for i, moment in enumerate(self.exp_avgs)}
        moments |= {f"exp_avg_sq.{i}": moment for i, moment in enumerate(self.exp_avg_sqs)}
        return moments | {"steps": self.steps}

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters by their gradients; each must have one."""
        self.steps += 1
        torch._fused_adam_(
            self.parameters,
            [parameter.grad for parameter in self.parameters if parameter.grad is not None],
            self.exp_avgs,
            self.exp_avg_sqs,
            [],
            [self.steps] * len(self.parameters),
            lr=self.lr,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None
