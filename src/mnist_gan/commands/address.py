"""Print the address of the tracking store, as MLflow's own commands take it in MLFLOW_TRACKING_URI."""

import argparse

from mnist_gan.files import root
from mnist_gan.tracking import address
from mnist_gan.tracking.address import Address


def main() -> None:
    """Print it, without a password."""
    argparse.ArgumentParser(prog="python -m mnist_gan address", description=__doc__).parse_args()
    print(Address.of(address.named(), root()).uri)
