"""What becomes of a training that has few images: with and without ``augment``, on the way and at its end.

So many of MNIST's training images are all that a training sees; how many epochs it has follows from its steps. Its
distances and recall are those of ``evaluate``, by MNIST's own ruler and its 10,000 test images, so that they are the
same for every row. Whether it copies is asked of the images that it was trained on: ``nearest_in_training`` says for
which part of the generated images the nearest real one is one of these, and the floor is that of these themselves.
"""

import argparse
import itertools
from copy import deepcopy
from dataclasses import replace

from quality import engine_of

from mnist_gan import config
from mnist_gan.data.images import generate
from mnist_gan.data.prepared import Split, read_prepared
from mnist_gan.files import flatten
from mnist_gan.quality import panel, ruler
from mnist_gan.quality.guards import copying
from mnist_gan.quality.measures import Nearest
from mnist_gan.quality.panel import Originals
from mnist_gan.quality.ruler import CHOOSING, Ruler
from mnist_gan.quality.sight import SPACES, Eyes
from mnist_gan.stages.evaluate import seeded_latents
from mnist_gan.training import hardware
from mnist_gan.training.engine import Engine, steps_per_epoch

MEASURES = ("frechet_distance", "recall", "copies", "nearest_in_training")
COLUMNS = ("images", "augment", "seed", "steps", *MEASURES, "these themselves", "copies seen")
BATCH = 64


def ruler_of(real: Ruler, look: Eyes, few: Split) -> Ruler:
    """The ruler ``real`` for a generator that was trained on ``few`` images only."""
    trained, tested = look.centred(few.images), look.centred(real.test.images)
    near = {kind: Nearest.of(trained[kind], trained[kind], tested[kind], rank=2) for kind in SPACES}
    originals = {kind: Originals(trained[kind], tested[kind], near[kind].ratio.quantile(panel.TAIL)) for kind in SPACES}
    floor = ruler.tabulate({kind: panel.copying(near[kind], originals[kind].limit) for kind in SPACES})
    return replace(real, originals=originals, floor=floor)


def main() -> None:
    """Print the table in Markdown, each row as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="cr3gan", help="default cr3gan")
    parser.add_argument("--counts", type=int, nargs="+", default=[300, 1000, 5000], help="default 300, 1000 and 5000")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default 0 to 2")
    parser.add_argument(
        "--at", type=int, nargs="+", default=[750, 1500], help="steps to measure after; default 750 1500"
    )
    chosen = parser.parse_args()
    hardware.configure(config.load().train.deterministic)
    training, real, look = read_prepared("train"), ruler.read(), Eyes()
    print(f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|")
    for count in chosen.counts:
        few = Split(training.images[:count], training.labels[:count], training.classes)
        made = ruler_of(real, look, few)
        for augment, seed in itertools.product((False, True), chosen.seeds):
            epochs = -(-max(chosen.at) // steps_per_epoch(count, BATCH))
            options = {"augment": augment, "epochs": epochs, "batch_size": BATCH}
            engine = engine_of(chosen.variant, options, seed, few)
            for steps in chosen.at:
                train_until(engine, steps)
                cells = (f"{count:,}", "yes" if augment else "no", str(seed), f"{steps:,}")
                print(f"| {' | '.join((*cells, *measured(engine, made, look)))} |", flush=True)


def train_until(engine: Engine, steps: int) -> None:
    """Train until so many ``steps`` are done."""
    while engine.steps < steps:
        for _ in itertools.takewhile(lambda _: engine.steps < steps, engine.epoch()):
            pass


def measured(engine: Engine, made: Ruler, look: Eyes) -> list[str]:
    """The cells of MEASURES, by the judges and the autoencoder, and whether the images copy, with the floor of it."""
    options = config.load().evaluate
    latents = seeded_latents(CHOOSING + options.samples, engine.variant.latent_dim, options.seed)[CHOOSING:]
    pictures = generate(deepcopy(engine.variant.drawn).cpu().eval(), latents)
    found = ruler.tabulate(made.compare(look(pictures), made.nearest(look, pictures)))
    cells = [" / ".join(f"{found[kind][name]:.3g}" for kind in SPACES) for name in MEASURES]
    floor = " / ".join(f"{made.floor[kind]['nearest_in_training']:.3g}" for kind in SPACES)
    return [*cells, floor, "yes" if copying(flatten(found | {"floor": made.floor})) else "no"]


if __name__ == "__main__":
    main()
