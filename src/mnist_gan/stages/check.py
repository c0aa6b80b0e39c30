"""Name every mistake in params.yaml before anything runs, also where DVC would only miss a file."""

from mnist_gan import config
from mnist_gan.errors import run_as_program


def main() -> None:
    """Read params.yaml, and leave nothing."""
    config.load()


if __name__ == "__main__":
    run_as_program(main)
