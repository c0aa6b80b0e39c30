"""The prepared images are the article's images."""

from pathlib import Path
from typing import Literal

import pytest
import torch
from conftest import run_stage, set_params
from PIL import Image
from torchvision import transforms
from torchvision.datasets.mnist import read_image_file

from mnist_gan.data.images import resize, to_float
from mnist_gan.data.prepared import PREPARED, Split


@pytest.fixture(scope="module")
def raw_test_images(mnist: Path) -> torch.Tensor:
    images: torch.Tensor = read_image_file(str(mnist / "data/raw/t10k-images-idx3-ubyte"))
    return images


def test_every_test_image_equals_the_per_image_transform(test_split: Split, raw_test_images: torch.Tensor) -> None:
    transform = transforms.Compose([transforms.Resize(32), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    expected = torch.stack([transform(Image.fromarray(image.numpy(), mode="L")) for image in raw_test_images])
    assert torch.equal(to_float(test_split.images), expected)


@pytest.mark.parametrize("img_size", [16, 32, 48, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_and_channel_count(raw_test_images: torch.Tensor, img_size: int, channels: Literal[1, 3]) -> None:
    resized = resize(raw_test_images[:5].unsqueeze(1), img_size, channels)
    assert resized.dtype == torch.uint8
    assert resized.shape == (5, channels, img_size, img_size)
    assert resized.amax() > 200
    assert torch.equal(resized[:, 0], resized[:, -1])


def test_damaged_prepared_file_is_named(small: Path) -> None:
    path = PREPARED / "train.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    done = run_stage("train", small)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path} cannot be read")
    assert done.stderr.count("\n") == 1


def test_lone_image_in_a_batch_is_refused(small: Path) -> None:
    set_params(small, variants__gan__batch_size=1023)
    done = run_stage("train", small)
    assert done.returncode == 1
    assert done.stderr.startswith("error: batch_size: 1023 leaves one image of 1024 alone")
