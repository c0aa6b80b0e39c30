"""Fetch MNIST."""

from mnist_gan import config
from mnist_gan.data.mnist import RAW
from mnist_gan.data.sources import download
from mnist_gan.files import write_atomically


def main() -> None:
    """Write the four files of MNIST to data/raw, or nothing."""
    files = download(config.load().download.mirrors)
    for name, content in files.items():
        write_atomically(RAW / name, content)
