"""Make the autoencoder of the data set: train it, or take the one that is in git."""

from functools import partial

from mnist_gan import config
from mnist_gan.quality import autoencoder, frozen
from mnist_gan.training import hardware


def main() -> None:
    """Write models/autoencoder.safetensors."""
    options = config.load().autoencoder
    if frozen.take_committed("autoencoder", options, autoencoder.PATH):
        return
    hardware.configure()
    training = frozen.learned_from("train")
    options = frozen.for_so_many(len(training.labels), options)
    trained = autoencoder.train(
        options,
        training,
        partial(say, options.epochs),
    )
    explained = autoencoder.explained(trained, frozen.learned_from("test"))
    print(f"autoencoder: {explained:.2%} of the test images' variance passes through")
    autoencoder.write(trained)


def say(epochs: int, epoch: int, error: float) -> None:
    """Print how far it has come, eight times at the most."""
    if epoch * 8 // epochs > (epoch - 1) * 8 // epochs:
        print(f"autoencoder: epoch {epoch}/{epochs}, error {error:.4f}", flush=True)
