"""Train the judges. The stage is frozen in dvc.yaml and their weights are committed: distances stay comparable."""

from functools import partial

from mnist_gan import config
from mnist_gan.data.mnist import read_prepared
from mnist_gan.errors import UserError
from mnist_gan.quality import judge
from mnist_gan.training import hardware

LEAST_ACCURACY = 0.993


def main() -> None:
    """Write models/judges/, if every judge is good enough to judge."""
    options = config.load().judges
    hardware.configure()
    training, test = read_prepared("train"), read_prepared("test")
    trained = []
    for number in range(judge.COUNT):
        alone = options.model_copy(update={"seed": options.seed + number})
        trained.append(judge.train(alone, training, partial(say, number, options.epochs)))
        accuracy = judge.accuracy(trained[-1:], test)
        print(f"judge {number}: {accuracy:.2%} of the test images classified right", flush=True)
        if accuracy < LEAST_ACCURACY:
            raise UserError(
                f"accuracy {accuracy:.2%} is below {LEAST_ACCURACY:.1%}; nothing written. Raise judges.epochs"
            )
    judge.write(trained)


def say(number: int, epochs: int, epoch: int, loss: float) -> None:
    """Print how far a judge has come."""
    print(f"judge {number}: epoch {epoch}/{epochs}, loss {loss:.4f}", flush=True)
