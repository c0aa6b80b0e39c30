"""Runs grouped into configurations: those that differ in nothing but the seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnist_gan.config import REQUESTS
from mnist_gan.tracking.run import PRIMARY, TrackedRun

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by colour-blind readers as well (Wong 2011, doi 10.1038/nmeth.1618)."""
ENVIRONMENT = ("device", "precision", "threads", "torch")
"""The tags that name what determines a result beside its parameters."""


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in nothing but the seed."""

    label: str
    runs: list[TrackedRun]
    colour: str

    @property
    def middle(self) -> TrackedRun:
        """The run with the median distance, the better of two."""
        return sorted(self.runs, key=lambda run: run.quality[PRIMARY])[(len(self.runs) - 1) // 2]

    def values(self, metric: str) -> list[float]:
        """The metric of each run."""
        return [run.quality[metric] for run in self.runs]


def differing(runs: Sequence[TrackedRun]) -> list[str]:
    """The names of the parameters that are not the same in all runs, the variant first."""
    names = sorted({name for run in runs for name in run.params}, key=lambda name: (name != "train.variant", name))
    return [name for name in names if len({run.params.get(name) for run in runs}) > 1]


def configurations(runs: Sequence[TrackedRun]) -> list[Configuration]:
    """Runs by configuration, each under a label of what sets it apart from the others.

    A label names the variant, the epochs, and the parameters, environment and code that differ between runs of one
    variant: variants may differ in precision by themselves.
    Trainings that went on from another's end (``init_from``) are apart from those from the start: that of another seed
    is no draw of its own. Of several runs of one seed the last in ``runs`` counts: they are no further evidence.
    """
    by_variant: dict[str, list[TrackedRun]] = {}
    for run in runs:
        by_variant.setdefault(run.params["train.variant"], []).append(run)
    of_one_variant = {name for of_variant in by_variant.values() for name in differing(of_variant)}
    codes = {variant: {run.tags.get("code", "") for run in of_variant} for variant, of_variant in by_variant.items()}
    telling = (of_one_variant | {"train.epochs"}) - {"train.seed", *REQUESTS}
    names = [name for name in differing(runs) if name in telling]
    tags = [
        tag for tag in ENVIRONMENT if any(len({run.tags.get(tag) for run in each}) > 1 for each in by_variant.values())
    ]
    groups: dict[str, dict[str, TrackedRun]] = {}
    for run in runs:
        given = [name for name in names if name in run.params and (name != "train.init_from" or run.start)]
        rest = [f"{name.partition('.')[2]} {run.params[name]}" for name in given]
        variant = run.params["train.variant"]
        code = [f"code {run.tags.get('code', 'unknown')[:7]}"] if len(codes[variant]) > 1 else []
        label = ", ".join([variant, *rest, *(run.tags[tag] for tag in tags if tag in run.tags), *code])
        groups.setdefault(label, {})[run.params["train.seed"]] = run
    return [
        Configuration(label, list(by_seed.values()), COLOURS[index % len(COLOURS)])
        for index, (label, by_seed) in enumerate(groups.items())
    ]
