"""Register the best generator of the selected data set, and make it the champion if it beats the present one.

The best is the one nearest to the validation images. The test images, which have no part in that choice, decide whether
it beats the champion: it must be nearer to them by the judges and by the autoencoder, beyond the 95% intervals, copy no
training images, draw every class that the champion draws, and as many kinds of images.
"""

import argparse
from collections.abc import Sequence

from mnist_gan import config
from mnist_gan.errors import UserError
from mnist_gan.quality import verdict
from mnist_gan.tracking import registry
from mnist_gan.tracking.published import measured_alike
from mnist_gan.tracking.run import VALIDATION, TrackedRun
from mnist_gan.tracking.store import connect, store_failures_in_one_line


def main() -> None:
    """Promote the run that the command line names, or the best."""
    options = parser().parse_args()
    store = connect()
    with store_failures_in_one_line():
        data = config.load().data.name
        chosen = store.named([options.run]) if options.run else []
        model = registry.model_of(chosen[0].data if chosen else data)
        holder, trouble = registry.champion(store, model)
        if trouble:
            print(trouble)
        ranked = chosen or by_distance([run for run in store.published() if run.data == data], holder)
        candidate, version = registry.register_first(store, ranked)
        print(f"version {version.version} of {model}: {describe(candidate)}")
        promoted, reason = decide(candidate, holder)
        if promoted:
            registry.crown(store, version)
        print(f"{'is champion' if promoted else 'the champion stays'}: {reason}")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan promote", description=__doc__)
    made.add_argument("--run", help="start of a run id or of a generator's hash, or a run's name; else the best run")
    return made


def by_distance(published: Sequence[TrackedRun], holder: TrackedRun | None) -> list[TrackedRun]:
    """The runs that were measured as ``holder`` was, the nearest to the validation images first.

    Raises:
        UserError: there is no run, or there is no holder and runs were measured differently.
    """
    comparable = [run for run in published if holder is None or measured_alike([run, holder])]
    if not comparable:
        raise UserError(
            "no published run was measured as the champion was: `dvc repro` makes one"
            if published
            else "no published run to promote: `dvc repro` makes one"
        )
    if not measured_alike(comparable):
        raise UserError("the runs were measured differently, so that none is the best: name one with --run")
    return sorted(comparable, key=lambda run: run.metrics[VALIDATION])


def decide(candidate: TrackedRun, holder: TrackedRun | None) -> tuple[bool, str]:
    """Whether ``candidate`` is to be champion in the place of ``holder``, and why."""
    if holder and candidate.content_hash == holder.content_hash:
        return False, "it is the champion already"
    if holder and not measured_alike([candidate, holder]):
        return (
            False,
            f"{describe(holder)}, the present one, was measured differently, so that they do not compare",
        )
    return verdict.crown(candidate.quality, holder.quality if holder else None)


def describe(run: TrackedRun) -> str:
    """The run in a few words."""
    return f"{run.name}, generator {run.content_hash[:12]}"
