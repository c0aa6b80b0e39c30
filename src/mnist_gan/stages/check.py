"""Refuse a mistake in params.yaml before anything runs: DVC removes a stage's outs before it runs the stage."""

from mnist_gan import config, variants
from mnist_gan.training import starts


def main() -> None:
    """Read params.yaml, and leave nothing."""
    params = config.load()
    for name, section in params.variants.items():
        variants.parse(name, section)
    starts.checked(params)
