"""The ruler: what generated images are measured against, made once of real images alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist_gan.data.prepared import Split, read_prepared
from mnist_gan.errors import UserError
from mnist_gan.files import read_tensors, sha256, write_json, write_tensors
from mnist_gan.quality import fresh, measures, panel
from mnist_gan.quality.measures import Gaussian, Nearest
from mnist_gan.quality.panel import Estimate, Measured, Originals, Space
from mnist_gan.quality.sight import JUDGES, SPACES, Eyes, Seen

TENSORS = Path("models/ruler/real.safetensors")
FLOOR = Path("models/ruler/floor.json")
DRAWS = 5
"""Draws of real images that make the floor."""
VALIDATION = 10_000
"""Training images that choose the best checkpoint."""
CHOOSING = 2000
"""Images of a checkpoint that are compared with them."""


@dataclass(frozen=True)
class Validation:
    """Training images drawn at random, which choose the best checkpoint, in one judge's space of features."""

    features: Tensor
    """Of CHOOSING of them, ``[CHOOSING, D]``."""
    neighbours: Tensor
    """Their squared distances ``[CHOOSING, NEIGHBOURS]`` of ``measures.neighbours``."""
    mean: Tensor
    root: Tensor
    """Of the Gaussian that fits all VALIDATION."""


@dataclass(frozen=True)
class Ruler:
    """The real images as the frozen networks see them."""

    spaces: dict[str, Space]
    """By network."""
    originals: dict[str, Originals]
    """By kind of space, of centred images."""
    validation: dict[str, Validation]
    """By judge."""
    probabilities: Tensor
    """Of the classes of the M test images, by the judges: ``[M, K]``."""
    test: Split
    """The M test images themselves."""
    floor: dict[str, Any]
    """What training images drawn at random get: no generator can be expected to be better."""
    made_of: str
    """Names the frozen networks and the real images, on whatever machine."""
    samples: int
    """Images in a draw of the floor, and so many generated ones are compared: a distance depends on their number."""

    @classmethod
    def of(cls, look: Eyes, test: Split, training: Split, samples: int, made_of: str) -> "Ruler":
        """The ruler that has these real images, and the floor of so many ``samples``.

        Draws for distances are half of the training images at the most: more would be no draws.
        """
        random = torch.Generator().manual_seed(0)
        drawn_at_once = min(samples, len(training.images) // 2)

        def draw(count: int) -> Seen:
            # A block of MNIST's file is no draw: it is ordered by writer.
            return look(training.images[torch.randperm(len(training.images), generator=random)[:count]])

        seen, tested, trained = look(test.images), look.centred(test.images), look.centred(training.images)
        spaces = {name: Space.of(features) for name, features in seen.features.items()}
        one = torch.randperm(len(training.images), generator=random)[:samples]
        # Each without itself, which is the nearest.
        near = {kind: Nearest.of(trained[kind][one], trained[kind], tested[kind], rank=2) for kind in SPACES}
        originals = {
            kind: Originals(trained[kind], tested[kind], near[kind].ratio.quantile(panel.TAIL)) for kind in SPACES
        }
        validation = _validation(draw(VALIDATION))
        bare = cls(spaces, originals, validation, seen.probabilities, test, {}, made_of, drawn_at_once)
        drawn = [bare.likeness(draw(drawn_at_once)) for _ in range(DRAWS)]
        floor = {
            group: {
                name: panel.of_draws(name, [draw[group][name].value for draw in drawn], len(test.classes.names))
                for name in drawn[0][group]
            }
            for group in drawn[0]
        }
        for kind in SPACES:
            floor[kind] |= panel.copying(near[kind], originals[kind].limit)
        floor["told_apart"] = fresh.told_apart(training.images[one], test.images)
        return replace(bare, floor=tabulate(floor))

    def name(self, samples: int, seed: int) -> str:
        """Names this ruler with so many samples of this seed: numbers under another name do not compare."""
        return sha256(f"{measures.VERSION} {self.made_of} {samples} {seed}".encode())[:12]

    def follow(self, generated: Seen) -> dict[str, float]:
        """What is followed through the training, on CHOOSING images: the distance, which chooses, by all judges."""
        distances = [
            measures.frechet_distance(generated.features[name], Gaussian(draw.mean, draw.root))[0]
            for name, draw in self.validation.items()
        ]
        first = self.validation[JUDGES[0]]
        near = measures.neighbourhoods(generated.features[JUDGES[0]], first.features, first.neighbours)
        return {
            "frechet_distance": torch.stack(distances).mean().item(),
            "precision": near.precision[0].item(),
            "recall": near.recalled.double().mean().item(),
        }

    def measure(self, look: Eyes, images: Tensor) -> dict[str, Measured]:
        """All measures of uint8 images ``[N, C, H, W]``, which are in no order.

        What depends on how many images there are takes ``samples`` of them. Whether they are copies is asked of all.
        """
        told = fresh.told_apart(images, self.test.images)
        return self.compare(look(images[: self.samples]), self.nearest(look, images)) | {"told_apart": told}

    def compare(self, generated: Seen, near: Mapping[str, Nearest]) -> dict[str, Measured]:
        """All measures in the two kinds of space: what a fresh judge says is not among them."""
        measured, copying = self.likeness(generated), self.copying(near)
        return measured | {kind: measured[kind] | copying[kind] for kind in SPACES}

    def nearest(self, look: Eyes, images: Tensor) -> dict[str, Nearest]:
        """How near uint8 images ``[N, C, H, W]`` are to real ones, by kind of space."""
        centred = look.centred(images)
        return {kind: originals.nearest(centred[kind]) for kind, originals in self.originals.items()}

    def copying(self, near: Mapping[str, Nearest]) -> dict[str, Measured]:
        """What says that images are made of training images, by kind of space."""
        return {kind: panel.copying(near[kind], originals.limit) for kind, originals in self.originals.items()}

    def likeness(self, generated: Seen) -> dict[str, Measured]:
        """All measures against the test images: in both kinds of space, and class by class."""
        measured: dict[str, Measured] = {}
        for kind, networks in SPACES.items():
            found = panel.all_measures(*self._in(generated, networks), self.test)
            measured[kind] = found.pop("all")
            measured |= {f"{kind}_{name}": by_class for name, by_class in found.items()}
        measured["judge"] |= panel.by_class(generated.probabilities, self.probabilities)
        return measured | {"classes": panel.class_shares(generated.probabilities, self.test.classes.names)}

    def distances(self, generated: Seen) -> dict[str, Measured]:
        """The distances to the test images in both kinds of space."""
        return {kind: panel.distances(*self._in(generated, networks)) for kind, networks in SPACES.items()}

    def _in(self, generated: Seen, networks: Sequence[str]) -> tuple[list[Tensor], list[Space]]:
        return [generated.features[name] for name in networks], [self.spaces[name] for name in networks]

    def write(self) -> None:
        """Write TENSORS and FLOOR."""
        tensors = {"probabilities": self.probabilities}
        for kind in ("spaces", "originals", "validation"):
            for name, held in getattr(self, kind).items():
                tensors |= {f"{kind}.{name}.{part}": tensor for part, tensor in vars(held).items()}
        write_tensors(TENSORS, tensors, {"made_of": self.made_of, "samples": self.samples})
        write_json(FLOOR, self.floor)


def read() -> Ruler:
    """The ruler of the last ``dvc repro ruler``.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        tensors, about = read_tensors(TENSORS)

        def parts(kind: str, name: str) -> dict[str, Tensor]:
            start = f"{kind}.{name}."
            return {key.removeprefix(start): tensor for key, tensor in tensors.items() if key.startswith(start)}

        spaces = {name: Space(**parts("spaces", name)) for networks in SPACES.values() for name in networks}
        originals = {kind: Originals(**parts("originals", kind)) for kind in SPACES}
        validation = {name: Validation(**parts("validation", name)) for name in JUDGES}
        floor = json.loads(FLOOR.read_text())
        test = read_prepared("test")
        return Ruler(spaces, originals, validation, tensors["probabilities"], test, floor, **about)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{TENSORS.parent} cannot be read ({error}): `dvc repro ruler` makes it") from None


def tabulate(measured: dict[str, Measured]) -> dict[str, Any]:
    """Values by group of measures, and intervals by group, to six digits after the point."""

    def interval(estimate: Estimate) -> dict[str, float]:
        return {"low": round(estimate.low, 6), "high": round(estimate.high, 6)}

    values = {
        group: {name: round(one.value, 6) for name, one in estimates.items()} for group, estimates in measured.items()
    }
    intervals = {
        group: {name: interval(one) for name, one in estimates.items()} for group, estimates in measured.items()
    }
    return values | {"interval": intervals}


def _validation(drawn: Seen) -> dict[str, Validation]:
    found = {}
    for name in JUDGES:
        features = drawn.features[name]
        gaussian, few = Gaussian.of(features), features[:CHOOSING]
        found[name] = Validation(few, measures.neighbours(few, measures.NEIGHBOURS), gaussian.mean, gaussian.root)
    return found
