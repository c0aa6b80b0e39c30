"""Train the autoencoder. Like the judges', the stage is frozen and its weights are committed."""

from mnist_gan import config
from mnist_gan.data.mnist import read_prepared
from mnist_gan.errors import UserError
from mnist_gan.quality import autoencoder
from mnist_gan.training import hardware

LEAST_EXPLAINED = 0.9


def main() -> None:
    """Write models/autoencoder.safetensors, if enough of the images passes through it."""
    options = config.load().autoencoder
    hardware.configure()
    trained = autoencoder.train(
        options,
        read_prepared("train"),
        lambda epoch, loss: print(f"autoencoder: epoch {epoch}/{options.epochs}, error {loss:.4f}", flush=True),
    )
    explained = autoencoder.explained(trained, read_prepared("test"))
    print(f"autoencoder: {explained:.2%} of the test images' variance passes through")
    if explained < LEAST_EXPLAINED:
        raise UserError(f"{explained:.2%} is below {LEAST_EXPLAINED:.0%}; nothing written. Raise autoencoder.epochs")
    autoencoder.write(trained)
