"""Numbers and pictures."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

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


@pytest.mark.parametrize("shape", [(2, 1, 4, 5), (7, 1, 16, 16), (6, 3, 8, 8)])
@pytest.mark.parametrize("columns", [1, 3, 10])
def test_a_grid_has_the_pixels_of_torchvisions(shape: tuple[int, ...], columns: int) -> None:
    pixels = torch.randint(256, shape, dtype=torch.uint8)
    expected = to_pil_image(make_grid(pixels, nrow=columns))
    assert images.grid(pixels, columns, scale=1).tobytes() == expected.tobytes()


def test_fixed_latents_are_fixed() -> None:
    torch.manual_seed(1)
    first = images.fixed_latents(5, 100)
    torch.manual_seed(2)
    assert torch.equal(images.fixed_latents(5, 100), first)


@pytest.mark.parametrize("end", [(3.0, 4.0), (6.0, 8.0), (-3.0, -4.0), (-6.0, -8.0)])
def test_between_parallel_or_opposite_vectors_slerp_takes_the_line(end: tuple[float, float]) -> None:
    """As all latent vectors of length one are."""
    start, there = torch.tensor((3.0, 4.0)), torch.tensor(end)
    path = images.slerp(start, there, 5)
    torch.testing.assert_close(path[2], (start + there) / 2)
    torch.testing.assert_close(path[[0, -1]], torch.stack([start, there]))
    assert images.slerp(start[:1], there[:1], 5).isfinite().all()


def test_slerp_keeps_the_length_and_the_ends() -> None:
    start, end = images.fixed_latents(2, 100)
    path: Tensor = images.slerp(start, end, 7)
    torch.testing.assert_close(path[0], start)
    torch.testing.assert_close(path[-1], end)
    shortest = min(start.norm().item(), end.norm().item())
    assert path.norm(dim=1).min() > 0.9 * shortest
    assert start.lerp(end, 0.5).norm() < 0.9 * shortest
