"""Numbers and pictures."""

import torch
from torch import Tensor

from mnist_gan.data import images


def test_every_byte_survives_the_way_there_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(images.to_uint8(images.to_float(every)), every)
    assert [value.item() for value in images.to_float(every).aminmax()] == [-1, 1]


def test_a_grid_shows_values_as_they_are() -> None:
    grey = torch.full((3, 1, 4, 4), 100, dtype=torch.uint8)
    picture = images.grid(grey, columns=2, scale=3)
    values = {value for _, value in picture.convert("L").getcolors() or []}
    assert values == {0, 100}
    assert picture.width > picture.height / 2


def test_fixed_latents_are_fixed() -> None:
    torch.manual_seed(1)
    first = images.fixed_latents(5, 100)
    torch.manual_seed(2)
    assert torch.equal(images.fixed_latents(5, 100), first)


def test_slerp_keeps_the_length_and_the_ends() -> None:
    start, end = images.fixed_latents(2, 100)
    path: Tensor = images.slerp(start, end, 7)
    torch.testing.assert_close(path[0], start)
    torch.testing.assert_close(path[-1], end)
    shortest = min(start.norm().item(), end.norm().item())
    assert path.norm(dim=1).min() > 0.9 * shortest
    assert start.lerp(end, 0.5).norm() < 0.9 * shortest
