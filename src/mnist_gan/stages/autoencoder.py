"""Make the autoencoder of the data set: train it, or take the one that is in git."""

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
        lambda epoch, loss: print(f"autoencoder: epoch {epoch}/{options.epochs}, error {loss:.4f}", flush=True),
    )
    explained = autoencoder.explained(trained, frozen.learned_from("test"))
    print(f"autoencoder: {explained:.2%} of the test images' variance passes through")
    autoencoder.write(trained)
