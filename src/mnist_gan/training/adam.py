"""Torch's Adam, called as a function: its class imports torch's compiler at its first use, 3 s of every start."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import adam


class Adam:
    """Adam (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1); its moments are there from the start."""

    def __init__(self, parameters: Iterable[Tensor], lr: float | Tensor, betas: tuple[float, float]) -> None:
        """Begin with moments of zero.

        Args:
            lr: the learning rate, read at each step.
            betas: decay of the first and of the second moment, read at each step.
        """
        self.parameters = list(parameters)
        self.state = {
            "step": [torch.zeros((), device=parameter.device) for parameter in self.parameters],
            "exp_avg": [torch.zeros_like(parameter) for parameter in self.parameters],
            "exp_avg_sq": [torch.zeros_like(parameter) for parameter in self.parameters],
        }
        self.lr = lr
        self.betas = betas

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters that have gradients by these, and forget them; the others stay as they are."""
        gradients = [(number, parameter.grad) for number, parameter in enumerate(self.parameters)]
        given = [(number, gradient) for number, gradient in gradients if gradient is not None]
        adam.adam(
            [self.parameters[number] for number, _ in given],
            [gradient for _, gradient in given],
            [self.state["exp_avg"][number] for number, _ in given],
            [self.state["exp_avg_sq"][number] for number, _ in given],
            [],
            [self.state["step"][number] for number, _ in given],
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.lr,
            weight_decay=0,
            eps=1e-8,
            maximize=False,
        )
        for parameter in self.parameters:
            parameter.grad = None
