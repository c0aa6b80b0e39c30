"""Make the judges of the data set: train them, or take those that are in git."""

from functools import partial

from mnist_gan import config
from mnist_gan.quality import frozen, judge
from mnist_gan.training import hardware


def main() -> None:
    """Write models/judges/."""
    options = config.load().judges
    if frozen.take_committed("judges", options, judge.FOLDER):
        return
    hardware.configure()
    training, test = frozen.learned_from("train"), frozen.learned_from("test")
    options = frozen.for_so_many(len(training.labels), options)
    trained, accuracies = [], []
    for number in range(judge.COUNT):
        alone = options.model_copy(update={"seed": options.seed + number})
        trained.append(judge.train(alone, training, partial(say, number, options.epochs)))
        accuracies.append(judge.accuracy(trained[-1:], test))
        print(f"judge {number}: {accuracies[-1]:.2%} of the test images classified right", flush=True)
    judge.write(trained, accuracies)


def say(number: int, epochs: int, epoch: int, loss: float) -> None:
    """Print how far a judge has come."""
    print(f"judge {number}: epoch {epoch}/{epochs}, loss {loss:.4f}", flush=True)
