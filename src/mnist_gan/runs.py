"""Published runs as MLflow holds them: found, grouped into configurations, and held against one ruler."""

import math
from collections.abc import Iterable, Sequence

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from mnist_gan.errors import UserError
from mnist_gan.tracking import CONTENT_TAG, Store

PRIMARY = "judge/frechet_distance"
"""The metric that verdicts and promotions go by: squared Fréchet distance to the test images, 0 is best."""
PUBLISHED = f"attributes.status = 'FINISHED' AND tags.published != '' AND metrics.`{PRIMARY}` >= 0"


def published(store: Store, where: str = "") -> list[Run]:
    """The runs that ``publish`` completed and the MLflow filter ``where`` admits, oldest first.

    Raises:
        UserError: MLflow does not understand the filter.
    """
    found: list[Run] = []
    page = None
    while True:
        try:
            runs = store.client.search_runs(
                [store.experiment_id],
                f"{PUBLISHED} AND {where}" if where else PUBLISHED,
                order_by=["attributes.start_time ASC"],
                page_token=page,
            )
        except MlflowException as error:
            raise UserError(f"filter {where!r}: {error.message.splitlines()[0]}") from None
        found += runs
        page = runs.token
        if not page:
            return found


def named(store: Store, names: Iterable[str]) -> list[Run]:
    """The published runs with these names: starts of run ids or of generators' SHA-256, or whole run names.

    Raises:
        UserError: a name is of no published run, or of several.
    """
    every = published(store)
    chosen = []
    for name in names:
        fits = [
            run
            for run in every
            if run.info.run_id.startswith(name) or content_hash(run).startswith(name) or run.info.run_name == name
        ]
        if len(fits) != 1:
            kinds = ", ".join(run.info.run_id[:12] for run in fits)
            found = f"stands for several: {kinds}" if fits else "is of no published run"
            raise UserError(f"run {name!r} {found}; give the start of a run's id or of its generator's hash")
        chosen.append(fits[0])
    return chosen


def content_hash(run: Run) -> str:
    """SHA-256 of the run's final generator."""
    return str(run.data.tags[CONTENT_TAG])


def differing(runs: Sequence[Run]) -> list[str]:
    """The names of the parameters that are not the same in all runs, the variant first."""
    names = sorted({name for run in runs for name in run.data.params}, key=lambda name: (name != "train.variant", name))
    return [name for name in names if len({run.data.params.get(name) for run in runs}) > 1]


def configurations(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ in nothing but the seed, under a label of what sets them apart from the others."""
    names = [name for name in differing(runs) if name != "train.seed"]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        params = run.data.params
        rest = [f"{name.partition('.')[2]} {params.get(name)}" for name in names if name != "train.variant"]
        groups.setdefault(", ".join([params["train.variant"], *rest]), []).append(run)
    return groups


def one_ruler(runs: Sequence[Run]) -> bool:
    """Whether all were measured alike: with as many samples, and the same floor of real images to a thousandth."""
    first = runs[0].data.metrics
    return all(
        run.data.metrics["samples"] == first["samples"]
        and math.isclose(run.data.metrics[f"floor/{PRIMARY}"], first[f"floor/{PRIMARY}"], rel_tol=1e-3)
        for run in runs
    )
