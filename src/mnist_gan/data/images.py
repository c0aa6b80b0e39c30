"""Images as numbers and as pictures: uint8 and [-1, 1], grids, progressions, interpolations."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad

LINE = 2
"""Pixels between two images of a grid."""
NOISE_SEED = 0
"""Of the fixed latent vectors of every sample picture, the same for all runs."""


def to_float(images: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]: the bits of torchvision's ToTensor, then Normalize([0.5], [0.5]).

    Those are (x / 255 - 0.5) / 0.5; doubling rounds nothing, so that it may come first.
    """
    return images.div(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Floats in [-1, 1] to the nearest of 256 values; no stretching of the range."""
    return ((images + 1) * 127.5).round().to(torch.uint8)


def fixed_latents(count: int, latent_dim: int) -> Tensor:
    """Standard normal ``[count, latent_dim]``, the same at every call; on the CPU."""
    return torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(NOISE_SEED))


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Spherical interpolation of latent vectors ``[D]`` in ``steps`` equal angles, both ends included: ``[steps, D]``.

    A straight line would pass through short vectors, which a generator hardly meets in training
    (White 2016, arXiv 1609.04468, section 2.1). Vectors that are parallel or opposite, as those of length one all are,
    have no arc of their own: the line is what is left.
    """
    angle = torch.acos(torch.cosine_similarity(start, end, dim=0).clamp(-1, 1))
    t = torch.linspace(0, 1, steps).unsqueeze(1)
    if torch.sin(angle) < 1e-3:  # what float32 leaves of an angle of 0 or pi
        return (1 - t) * start + t * end
    return (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)


def resize(images: Tensor, size: int, channels: int) -> Tensor:
    """Resize uint8 ``[N, C, h, w]`` to uint8 ``[N, channels, size, size]``; C and ``channels`` are 1 or 3.

    Each image takes Pillow's bilinear filter, because torchvision's Resize in the article works on
    Pillow images, whose rounding a resize of tensors does not reproduce to the last bit.
    """
    resized = torch.stack([_resized(picture(image), size, channels) for image in images])
    return resized.expand(-1, channels, -1, -1)


def _resized(image: Image.Image, size: int, channels: int) -> Tensor:
    if channels == 1:
        image = image.convert("L")
    small = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return torch.from_numpy(small.copy()).view(size, size, -1).permute(2, 0, 1)


@torch.inference_mode()
def generate(generator: nn.Module, latents: Tensor, batch_size: int = 500) -> Tensor:
    """Images uint8 ``[N, C, H, W]`` of ``generator``, in eval mode, from latents ``[N, latent_dim]``."""
    return torch.cat([to_uint8(generator(batch)) for batch in latents.split(batch_size)])


def picture(image: Tensor) -> Image.Image:
    """uint8 ``[C, H, W]`` for one or three colours."""
    return Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy())


def grid(images: Tensor, columns: int, scale: int = 2) -> Image.Image:
    """uint8 images ``[N, C, H, W]`` row by row, each pixel as ``scale`` x ``scale``, black lines between.

    The pixels of torchvision's make_grid, whose import would cost every program more than a second.
    """
    count, _, height, width = images.shape
    columns = min(columns, count)
    cells = images.new_zeros(-(-count // columns) * columns, 3, height + LINE, width + LINE)
    cells[:count, :, LINE:, LINE:] = images
    whole = cells.unflatten(0, (-1, columns)).permute(2, 0, 3, 1, 4).flatten(1, 2).flatten(2, 3)
    small = picture(pad(whole, (0, LINE, 0, LINE)))
    return small.resize((small.width * scale, small.height * scale), Image.Resampling.NEAREST)


def gif(frames: Sequence[Image.Image], frame_ms: int, last_ms: int) -> bytes:
    """``frames`` as an endless animation in the GIF format, the last one shown for ``last_ms`` milliseconds."""
    buffer = io.BytesIO()
    durations = [frame_ms] * (len(frames) - 1) + [last_ms]
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return buffer.getvalue()


def png(picture: Image.Image) -> bytes:
    """``picture`` in the PNG format."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
