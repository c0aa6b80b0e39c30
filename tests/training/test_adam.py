"""Our call of Adam is torch's class to the bit, without what it imports."""

import subprocess
import sys

import torch
from conftest import ROOT
from torch import nn

from mnist_gan.training.adam import Adam


def test_it_is_torchs_class_to_the_bit() -> None:
    torch.manual_seed(0)
    network, other = (nn.Sequential(nn.Linear(5, 3), nn.Linear(2, 2)) for _ in range(2))
    other.load_state_dict(network.state_dict())
    ours = Adam(network.parameters(), lr := torch.tensor(0.01), (0.5, 0.999))
    theirs = torch.optim.Adam(other.parameters(), lr=0.01, betas=(0.5, 0.999), fused=True)
    for step in range(20):
        lr.fill_(theirs.param_groups[0]["lr"] * 0.9)
        theirs.param_groups[0]["lr"] = lr.item()
        ours.betas = theirs.param_groups[0]["betas"] = (0.5 + step / 100, 0.999)
        images = torch.randn(4, 5)
        for trained in network, other:
            trained[0](images).square().sum().backward()  # the second layer is in nobody's way
        ours.step()
        theirs.step()
        theirs.zero_grad()
    assert all(map(torch.equal, network.parameters(), other.parameters()))
    assert network[0].weight.grad is None


USES = """
import sys, torch
from mnist_gan.training.adam import Adam
network = torch.nn.Linear(2, 2)
network(torch.ones(1, 2)).sum().backward()
Adam(network.parameters(), 0.1, (0.5, 0.999)).step()
assert "torch._dynamo" not in sys.modules
"""


def test_torchs_compiler_stays_away() -> None:
    done = subprocess.run([sys.executable, "-c", USES], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True)
    assert done.returncode == 0, done.stderr
