"""Refuse a mistake in the section of a variant, selected or not, before anything runs."""

from mnist_gan import config, variants


def main() -> None:
    """Read the sections of all variants, and leave nothing."""
    for name, section in config.load().variants.items():
        variants.parse(name, section)
