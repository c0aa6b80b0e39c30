"""Whether the 95% intervals hold the truth where there are few test images.

The generated images are drawn from a large pool of the checkout's generator, the real ones from MNIST's, in the
features of a judge and of the autoencoder. Test images are drawn several times, and for each time generated ones many
times. The truth of a measure is its mean over the draws against the same test images. Copying is asked of real images
that no set holds, with all sets drawn anew: a perfect generator, which copies nothing.
"""

import argparse
from collections import defaultdict

import torch
from torch import Tensor

from mnist_gan.data.images import generate
from mnist_gan.data.prepared import Split, read_prepared
from mnist_gan.quality import autoencoder, judge, panel
from mnist_gan.quality.guards import COPYING
from mnist_gan.quality.measures import Nearest
from mnist_gan.quality.panel import Estimate, Space
from mnist_gan.quality.sight import Eyes
from mnist_gan.stages.evaluate import seeded_latents
from mnist_gan.training import generators, hardware

POOL = 80_000
TRAINING = 5
"""Training images for each test image, as ``data`` deals them; half as many generated ones are compared."""
REAL_SETS = 10


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test-images", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--draws", type=int, default=1000)
    chosen = parser.parse_args()
    hardware.configure()
    look, checkpoint = Eyes(), generators.read()
    test, training = read_prepared("test").images, read_prepared("train").images
    pictures = generate(checkpoint.generator, seeded_latents(POOL, checkpoint.origin.latent_dim, 1))
    see = {
        "judge": lambda images: judge.features(look.judges[0], images),
        "autoencoder": lambda images: autoencoder.features(look.autoencoder, images),
    }
    pools = {kind: (of(pictures), of(test), of(training)) for kind, of in see.items()}
    print("| test images, generated | space | measure | holds the truth | false alarms |\n" + "| --- " * 5 + "|")
    for count in chosen.test_images:
        for kind, (generated, real, trained) in pools.items():
            sizes = f"{count:,}, {TRAINING * count // 2:,}"
            for name, rate in likeness(generated, real, count, chosen.draws).items():
                print(f"| {sizes} | {kind} | {name} | {rate:.1%} | |", flush=True)
            for name, (rate, alarms) in copying(torch.cat([trained, real]), count, chosen.draws).items():
                print(f"| {sizes} | {kind} | {name} | {rate:.1%} | {alarms:.1%} |", flush=True)


def some(pool: Tensor, count: int, random: torch.Generator) -> Tensor:
    """So many rows, drawn at random."""
    return pool[torch.randperm(len(pool), generator=random)[:count]]


def likeness(generated: Tensor, real: Tensor, count: int, draws: int) -> dict[str, float]:
    """The part of the intervals that hold the truth, by measure."""
    random = torch.Generator().manual_seed(0)
    held: dict[str, list[bool]] = defaultdict(list)
    for _ in range(REAL_SETS):
        space, labels = Space.of(some(real, count, random)), torch.zeros(count).int()
        found: dict[str, list[Estimate]] = defaultdict(list)
        for _ in range(draws // REAL_SETS):
            drawn = some(generated, TRAINING * count // 2, random)
            for name, one in panel.all_measures([drawn], [space], Split(space.test, labels))["all"].items():
                found[name].append(one)
        for name, estimates in found.items():
            held[name] += holds(estimates)
    return {name: sum(each) / len(each) for name, each in held.items()}


def copying(real: Tensor, count: int, draws: int) -> dict[str, tuple[float, float]]:
    """By measure, the part of the intervals that hold the truth, and of the draws that look like copies."""
    random = torch.Generator().manual_seed(0)
    found: dict[str, list[Estimate]] = defaultdict(list)
    alarms = dict.fromkeys(COPYING, 0)
    for _ in range(draws):
        trained = TRAINING * count
        drawn = some(real, count + trained + trained // 2, random)
        test, training, others = drawn[:count], drawn[count : count + trained], drawn[count + trained :]
        own = Nearest.of(training[: len(others)], training, test, rank=2)
        limit = own.ratio.quantile(panel.TAIL)
        floor, measured = panel.copying(own, limit), panel.copying(Nearest.of(others, training, test), limit)
        for name in COPYING:
            found[name].append(measured[name])
            alarms[name] += measured[name].low > floor[name].high
    rates = {name: sum(holds(estimates)) / len(estimates) for name, estimates in found.items()}
    return {name: (rates[name], alarms[name] / draws) for name in COPYING}


def holds(estimates: list[Estimate]) -> list[bool]:
    """Whether each interval holds the mean over all."""
    truth = sum(one.value for one in estimates) / len(estimates)
    return [one.low <= truth <= one.high for one in estimates]


if __name__ == "__main__":
    main()
