"""Resize the images once, so that no training step has to."""

from dataclasses import replace

from mnist_gan import config
from mnist_gan.data.images import resize
from mnist_gan.data.prepared import write_prepared
from mnist_gan.data.raw import read_raw


def main() -> None:
    """Write data/prepared from data/raw."""
    options = config.load().prepare
    for name in ("train", "test"):
        raw = read_raw(name)
        channels = raw.images.shape[1] if options.channels == "auto" else options.channels
        write_prepared(name, replace(raw, images=resize(raw.images, options.img_size, channels)))
