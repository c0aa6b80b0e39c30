"""Name every mistake in params.yaml before anything runs: DVC removes a stage's outs before it runs the stage."""

from mnist_gan import config, variants
from mnist_gan.training import starts


def main() -> None:
    """Read params.yaml, and leave nothing."""
    params = config.load()
    options = {name: variants.parse(name, section) for name, section in params.variants.items()}
    starts.checked(params.train, options[params.train.variant].epochs)
