"""Resize MNIST once, so that no training step has to."""

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as transforms

from mnist_gan import config
from mnist_gan.config import PrepareConfig
from mnist_gan.data.mnist import Split, read_raw, write_prepared


def main() -> None:
    """Write data/prepared from data/raw."""
    options = config.load().prepare
    for name, raw_name in (("train", "train"), ("test", "t10k")):
        raw = read_raw(raw_name)
        write_prepared(name, Split(resize(raw.images, options), raw.labels))


def resize(images: Tensor, options: PrepareConfig) -> Tensor:
    """Resize uint8 ``[N, 1, h, w]`` to uint8 ``[N, channels, img_size, img_size]``.

    Each image takes Pillow's bilinear filter, because torchvision's Resize in the article works on
    Pillow images, whose rounding a resize of tensors does not reproduce to the last bit.
    """
    size = [options.img_size, options.img_size]
    resized = torch.stack(
        [transforms.pil_to_tensor(transforms.resize(Image.fromarray(image[0]), size)) for image in images.numpy()]
    )
    return resized.expand(-1, options.channels, -1, -1)
