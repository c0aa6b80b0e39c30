"""Torch's Adam, called as a function: its class imports torch's compiler at its first use, 3 s of every start."""

import torch
from torch import Tensor, nn
from torch.optim import adam


class Adam:
    """Adam (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1) for one network; its moments are there from the start."""

    def __init__(self, network: nn.Module, lr: float | Tensor, betas: tuple[float, float]) -> None:
        """Begin with moments of zero.

        Args:
            lr: the learning rate, read at each step.
            betas: decay of the first and of the second moment, read at each step.
        """
        self.parameters: list[Tensor] = list(network.parameters())
        self.state = {
            "step": [torch.zeros((), device=parameter.device) for parameter in self.parameters],
            "exp_avg": [torch.zeros_like(parameter) for parameter in self.parameters],
            "exp_avg_sq": [torch.zeros_like(parameter) for parameter in self.parameters],
        }
        self.lr = lr
        self.betas = betas

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by their gradients, and forget these."""
        adam.adam(
            self.parameters,
            [parameter.grad for parameter in self.parameters if parameter.grad is not None],
            self.state["exp_avg"],
            self.state["exp_avg_sq"],
            [],
            self.state["step"],
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
