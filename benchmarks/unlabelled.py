"""What a ruler sees that knows no labels: cases of the calibration, by judges that were taught none.

MNIST's labels are used to make the cases alone. The judges in the place of the committed ones are taught kinds, which
are what ``data`` deals images without classes into (``kinds``), or nothing at all: random weights, with BatchNorm's
statistics of the training images (``random``), as Naeem et al. 2020 (arXiv 2002.09797, section 4) use them. The
autoencoder has never known labels. ``labels`` is the committed judges.
"""

import argparse

import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mnist_gan import config
from mnist_gan.commands import calibrate
from mnist_gan.commands._folder import DEALT_IN, KINDS
from mnist_gan.commands.calibrate import CASES, UNSEEN, Material
from mnist_gan.data.prepared import Classes, Split, read_prepared
from mnist_gan.quality import frozen, judge
from mnist_gan.quality.judge import Judge
from mnist_gan.quality.sight import Eyes
from mnist_gan.training import hardware

SHOWN = (
    "unseen real images", "100% copies", "copies bent by 0.5 pixels", "copies bent by 1 pixel",
    "300 training images repeated", "no 1", "half of the 1s", "one kind of 4", "thick strokes", "thin strokes",
    "half blurred", "moved by two pixels", "noise of 5 grey levels", "bent by 1 pixel", "reconstructions",
    "a Gaussian a digit",
)  # fmt: skip
BATCHES = 40
"""Of training images, for BatchNorm's statistics of a network with random weights."""


def main() -> None:
    """Print the table in Markdown: Fréchet distances as multiples of what real images have, and what is not seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judges", choices=("labels", "kinds", "random"))
    parser.add_argument("generators", nargs="*", type=calibrate.name_and_path, metavar="NAME=FILE")
    parser.add_argument("--epochs", type=int, default=4, help="of a judge that is taught kinds; default 4")
    chosen = parser.parse_args()
    hardware.configure()
    train, test, look = read_prepared("train"), read_prepared("test"), Eyes()
    given = Material.of(train, UNSEEN, look)  # by the true labels
    if chosen.judges == "random":
        look.judges = [untaught(seed, train.images) for seed in range(judge.COUNT)]
    if chosen.judges == "kinds":
        train, test, right = dealt(train, test)
        look.judges = [taught(seed, chosen.epochs, train) for seed in range(judge.COUNT)]
        accuracy = judge.accuracy(look.judges[:1], test)
        print(
            f"{right:.1%} of the images are of their kind's commonest digit; a judge knows the kind of {accuracy:.1%}"
        )
    made = Material.of(train, UNSEEN, look).ruler(test)
    floor = [made.floor[kind]["frechet_distance"] for kind in ("judge", "autoencoder")]
    print(
        "| images | judges | autoencoder | must be seen, but is not | must not be seen, but is |\n" + "| --- " * 5 + "|"
    )
    cases = [case for case in CASES if case.name in SHOWN]
    for case in [*cases, *(calibrate.trained(name, path) for name, path in chosen.generators)]:
        images = case.make(given)
        measured = made.compare(look(images), made.nearest(look, images))
        seen = calibrate.faults(measured, made)
        ratios = [
            f"{measured[kind]['frechet_distance'].value / least:.3g}"
            for kind, least in zip(("judge", "autoencoder"), floor, strict=True)
        ]
        said = [calibrate.words(sorted(names)) for names in (set(case.faults) - seen, seen & set(case.sound))]
        print(f"| {' | '.join([case.name, *ratios, *said])} |", flush=True)


def untaught(seed: int, images: Tensor) -> Judge:
    """A judge with random weights."""
    torch.manual_seed(seed)
    made = Judge(images.shape[-1], images.shape[1], 10).train()
    with torch.no_grad():
        for batch in images[torch.randperm(len(images))].split(500)[:BATCHES]:
            made(frozen.view(batch, made))
    return made.eval()


def dealt(train: Split, test: Split) -> tuple[Split, Split, float]:
    """Both splits with kinds for labels, and the part of the images that are of their kind's commonest digit."""

    def small(images: Tensor) -> Tensor:
        return avg_pool2d(images.float() / 255, images.shape[-1] // DEALT_IN).flatten(1)

    groups = KMeans(KINDS, n_init=1, random_state=0).fit(small(train.images).numpy())
    kinds = Classes("kind", tuple(f"{number:02}" for number in range(1, KINDS + 1)))
    known, unknown = (
        Split(split.images, torch.from_numpy(groups.predict(small(split.images).numpy())).byte(), kinds)
        for split in (train, test)
    )
    commonest = sum(int(train.labels[known.labels == kind].bincount().max()) for kind in range(KINDS))
    return known, unknown, commonest / len(train.labels)


def taught(seed: int, epochs: int, split: Split) -> Judge:
    """A judge that was taught the kinds."""
    options = config.load().judges.model_copy(update={"seed": seed, "epochs": epochs})
    return judge.train(options, split, lambda _epoch, _loss: None).eval()


if __name__ == "__main__":
    main()
