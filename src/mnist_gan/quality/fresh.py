"""The classifier two-sample test: how often a fresh judge tells generated images from real ones it never saw.

Lopez-Paz and Oquab 2017 (arXiv 1610.06545, section 3): a classifier learns on one half of both kinds and is counted on
the other half. 0.5 is what a perfect generator gets, 1 is what one gets whose every image gives it away. Unlike the
frozen networks, which were made to know digits, it learns whatever differs, so that it has no ceiling; but a copy of a
real image is real to it.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mnist_gan.config import FrozenConfig
from mnist_gan.data.prepared import Split
from mnist_gan.quality import frozen, panel
from mnist_gan.quality.frozen import view
from mnist_gan.quality.judge import Judge
from mnist_gan.quality.panel import Measured

SIZES = (32, 16, 8)
"""Height and width in pixels at which they are shown: in the smaller, what is wrong with single pixels is gone."""
TRAINING = FrozenConfig(seed=0, epochs=4, batch_size=128, lr=0.004)
"""The judges' recipe for fewer images. More epochs make it no surer at 8 pixels (docs/measures.md)."""


def told_apart(generated: Tensor, real: Tensor) -> Measured:
    """The part of images that a fresh judge of each size in SIZES takes for what they are, by ``SIZE_pixels``.

    The real images are dealt at random into those to learn from and those to decide by, as MNIST's test images are
    ordered by writer, and by how well these write.

    Args:
        generated: uint8 ``[N, C, H, W]``, in no order.
        real: uint8 ``[M, C, H, W]``. Of both kinds, as many take part as there are of the fewer.
    """
    count = min(len(generated), len(real)) // 2 * 2
    dealt = torch.randperm(len(real), generator=torch.Generator().manual_seed(TRAINING.seed))[:count]
    images = torch.stack([generated[:count], real[dealt]])
    kinds = torch.tensor([0, 1], dtype=torch.uint8)[:, None].expand(2, count)
    learned, decided = (
        Split(part.flatten(0, 1), labels.flatten())
        for part, labels in zip(images.chunk(2, dim=1), kinds.chunk(2, dim=1), strict=True)
    )
    return {f"{size}_pixels": _told(size, learned, decided) for size in SIZES}


def _told(size: int, learned: Split, decided: Split) -> panel.Estimate:
    """By a judge that sees images of ``size`` pixels."""
    made = frozen.fit(
        lambda: Judge(size, learned.images.shape[1], classes=2),
        lambda judge, images, kinds: cross_entropy(judge(images), kinds),
        TRAINING.model_copy(update={"batch_size": min(TRAINING.batch_size, len(learned.labels))}),
        learned,
        lambda *_: None,
    ).eval()
    with torch.inference_mode():
        said = torch.cat([made(view(batch, made)).argmax(dim=1) for batch in decided.images.split(500)])
    right = (said == decided.labels).double().mean().item()
    return panel.wilson(right, len(decided.labels), panel.NORMAL)
