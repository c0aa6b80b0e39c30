"""Train the judge. The stage is frozen in dvc.yaml and its weights are committed: distances stay comparable."""

from mnist_gan import config
from mnist_gan.data.mnist import read_prepared
from mnist_gan.errors import UserError
from mnist_gan.quality import judge
from mnist_gan.training import hardware

LEAST_ACCURACY = 0.993


def main() -> None:
    """Write models/judge.safetensors, if the judge is good enough to judge."""
    options = config.load().judge
    hardware.configure()
    trained = judge.train(
        options,
        read_prepared("train"),
        lambda epoch, loss: print(f"judge: epoch {epoch}/{options.epochs}, loss {loss:.4f}", flush=True),
    )
    accuracy = judge.accuracy(trained, read_prepared("test"))
    print(f"judge: {accuracy:.2%} of the test images classified right")
    if accuracy < LEAST_ACCURACY:
        raise UserError(f"accuracy {accuracy:.2%} is below {LEAST_ACCURACY:.1%}; nothing written. Raise judge.epochs")
    judge.write(trained)
