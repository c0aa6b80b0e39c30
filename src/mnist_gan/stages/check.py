"""Check params.yaml before anything runs."""

from mnist_gan import config, variants


def main() -> None:
    """Raise a UserError that names a mistake, if there is one."""
    for name, section in config.load().variants.items():
        variants.parse(name, section)
