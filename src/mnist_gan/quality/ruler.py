"""The ruler: what generated images are measured against, made once of real images alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mnist_gan.errors import UserError
from mnist_gan.files import read_tensors, sha256, write_json, write_tensors
from mnist_gan.quality import measures, panel
from mnist_gan.quality.panel import Estimate, Space, intervals, values
from mnist_gan.quality.sight import SPACES, Seen

TENSORS = Path("models/ruler/real.safetensors")
FLOOR = Path("models/ruler/floor.json")


@dataclass(frozen=True)
class Ruler:
    """The real images as the frozen networks see them.

    The validation images, which choose the best checkpoint, are the last training images, as many as test images.
    """

    spaces: dict[str, Space]
    probabilities: Tensor
    """Of the classes of the M test images, by the judge: ``[M, 10]``."""
    validation_neighbours: Tensor
    """Of the validation images in the judge's space: ``measures.neighbour_distances(validation, 5)``."""
    floor: dict[str, Any]
    """What ``report`` says of the validation images: no generator can be expected to be better."""
    made_of: str
    """Names the frozen networks and the real images, on whatever machine."""

    @classmethod
    def of(cls, test: Seen, training: Seen, made_of: str) -> "Ruler":
        """The ruler that has these real images."""
        held_out = len(test.probabilities)
        validation = training[-held_out:]
        neighbours = measures.neighbour_distances(validation.features["judge"], 5)
        # The floor's images must not be among those that they could be copies of.
        apart = cls(_spaces(test, training[:-held_out]), test.probabilities, neighbours, {}, made_of)
        return cls(_spaces(test, training), test.probabilities, neighbours, apart.report(validation), made_of)

    @property
    def validation(self) -> Tensor:
        """Features ``[M, D]`` of the validation images in the judge's space."""
        return self.spaces["judge"].training[-len(self.validation_neighbours) :]

    def name(self, samples: int, seed: int) -> str:
        """Names this ruler with so many samples of this seed: numbers under another name do not compare."""
        return sha256(f"{measures.VERSION} {self.made_of} {samples} {seed}".encode())[:12]

    def follow(self, generated: Seen) -> dict[str, float]:
        """The measures that are followed through the training, against the validation images."""
        features, reference = generated.features["judge"], self.validation
        near = measures.neighbourhoods(features[: len(reference)], reference, self.validation_neighbours)
        return {
            "frechet_distance": measures.frechet_distance(features, reference).item(),
            "precision": measures.average(near.precise).item(),
            "recall": measures.average(near.recalled).item(),
        }

    def report(self, generated: Seen) -> dict[str, Any]:
        """All measures in both spaces against the test images, the part of each digit, and their intervals."""
        measured = {name: panel.all_measures(generated.features[name], space) for name, space in self.spaces.items()}
        measured["judge"] |= panel.by_class(generated.probabilities, self.probabilities)
        return _tabulate(measured | {"digits": panel.class_shares(generated.probabilities)})

    def distances(self, generated: Seen) -> dict[str, Any]:
        """The distances to the test images in both spaces and their intervals."""
        return _tabulate(
            {name: panel.distances(generated.features[name], space) for name, space in self.spaces.items()}
        )

    def write(self) -> None:
        """Write TENSORS and FLOOR."""
        tensors = {
            f"{name}.{part}": tensor for name, space in self.spaces.items() for part, tensor in vars(space).items()
        }
        tensors |= {"probabilities": self.probabilities, "validation_neighbours": self.validation_neighbours}
        write_tensors(TENSORS, tensors, {"made_of": self.made_of})
        write_json(FLOOR, self.floor)


def read() -> Ruler:
    """The ruler of the last ``dvc repro ruler``.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        tensors, about = read_tensors(TENSORS)
        spaces = {
            name: Space(**{part: tensors[f"{name}.{part}"] for part in Space.__dataclass_fields__}) for name in SPACES
        }
        floor = json.loads(FLOOR.read_text())
        return Ruler(spaces, tensors["probabilities"], tensors["validation_neighbours"], floor, about["made_of"])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{TENSORS.parent} cannot be read ({error}): `dvc repro ruler` makes it") from None


def _spaces(test: Seen, training: Seen) -> dict[str, Space]:
    return {name: Space.of(test.features[name], training.features[name]) for name in SPACES}


def _tabulate(measured: dict[str, dict[str, Estimate]]) -> dict[str, Any]:
    """Values by group of measures, and intervals by group."""
    return {name: values(group) for name, group in measured.items()} | {
        "interval": {name: intervals(group) for name, group in measured.items()}
    }
