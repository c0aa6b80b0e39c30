"""Refuse what would fail later, before anything runs: DVC removes a stage's outs before it runs the stage.

What takes torch, whose import takes seconds, is left to the stage ``options``, which DVC runs after a change alone.
"""

from mnist_gan import config
from mnist_gan.config import NO_START
from mnist_gan.data import sets
from mnist_gan.files import root
from mnist_gan.tracking import address
from mnist_gan.tracking.address import Address


def main() -> None:
    """Read params.yaml, knock at MLflow's server, and leave nothing."""
    params = config.load()
    sets.path(params.data.name)
    if params.train.init_from != NO_START:
        from mnist_gan.training import starts

        starts.checked(params)
    uri = address.named()
    try:
        Address.of(uri, root()).check()
    except Exception as error:  # each kind of server fails in its own way
        raise address.unusable(uri, error) from None
