"""Published runs as MLflow holds them: found, grouped into configurations, and held against one ruler."""

import logging
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import numpy as np
from mlflow.entities import Run as Run
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from mnist_gan.errors import UserError
from mnist_gan.panel import Estimate
from mnist_gan.tracking import CONTENT_TAG, Store

logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its exceptions say the same

PRIMARY = "judge/frechet_distance"
"""The metric that verdicts and promotions go by: squared Fréchet distance to the test images, 0 is best."""
VALIDATION = "validation/frechet_distance"
"""The metric that chooses among generators: the same distance to the validation images, by checkpoint."""
ENVIRONMENT = ("device", "precision", "threads", "torch")
"""The tags that name what determines a result beside its parameters."""
PUBLISHED = f"attributes.status = 'FINISHED' AND tags.published != '' AND metrics.`{PRIMARY}` >= 0"


@contextmanager
def failing_in_one_line() -> Iterator[None]:
    """Raise UserError where the store refuses or fails within."""
    try:
        yield
    except MlflowException as error:
        raise UserError(f"MLflow fails: {error.message.splitlines()[0]}; try again once it works") from None


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
            if not where:
                raise
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
        if fits[0] not in chosen:
            chosen.append(fits[0])
    return chosen


def artifact(store: Store, run: Run, path: str) -> bytes:
    """The bytes of one of the run's files.

    Raises:
        UserError: the store does not have it.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(store.client.download_artifacts(run.info.run_id, path, folder)).read_bytes()
        except (OSError, MlflowException):
            raise UserError(
                f"{path} of run {run.info.run_id} cannot be read: if it is gone, delete the run, and `dvc repro` "
                "of its parameters writes it anew"
            ) from None


def history(store: Store, run: Run, metric: str) -> NDArray[np.float64]:
    """Steps, values and Unix times in seconds of a metric: ``[3, n]``, by step; the latest value of each."""
    points = sorted(store.client.get_metric_history(run.info.run_id, metric), key=lambda point: point.timestamp)
    latest = {point.step: (point.step, point.value, point.timestamp / 1000) for point in points}
    return np.array([latest[step] for step in sorted(latest)]).reshape(-1, 3).T


def estimate(run: Run, metric: str) -> Estimate:
    """The final generator's value of a measure, with its bootstrap interval."""
    metrics = run.data.metrics
    return Estimate(metrics[metric], metrics[f"interval/{metric}/low"], metrics[f"interval/{metric}/high"])


def content_hash(run: Run) -> str:
    """SHA-256 of the run's final generator."""
    return str(run.data.tags[CONTENT_TAG])


def differing(runs: Sequence[Run]) -> list[str]:
    """The names of the parameters that are not the same in all runs, the variant first."""
    names = sorted({name for run in runs for name in run.data.params}, key=lambda name: (name != "train.variant", name))
    return [name for name in names if len({run.data.params.get(name) for run in runs}) > 1]


def configurations(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ in nothing but the seed, under a label of what sets them apart from the others.

    Trainings that went on from another's end (``init_from``) are apart from those from the start: that of another seed
    is no draw of its own. Of several runs of one seed, as after a change of the code, the last in ``runs`` counts: they
    are no further evidence.
    """
    names = [name for name in differing(runs) if name not in ("train.variant", "train.seed")]
    tags = [tag for tag in ENVIRONMENT if len({run.data.tags[tag] for run in runs}) > 1]
    groups: dict[str, dict[str, Run]] = {}
    for run in runs:
        params = run.data.params
        rest = [f"{name.partition('.')[2]} {params[name]}" for name in names if params.get(name, "None") != "None"]
        label = ", ".join([params["train.variant"], *rest, *(run.data.tags[tag] for tag in tags)])
        groups.setdefault(label, {})[params["train.seed"]] = run
    return {label: list(by_seed.values()) for label, by_seed in groups.items()}


def one_ruler(runs: Sequence[Run]) -> bool:
    """Whether all were measured alike: with as many samples, and the same floors of real images to a thousandth."""
    rulers = ("samples", f"floor/{PRIMARY}", "floor/autoencoder/frechet_distance")
    first = runs[0].data.metrics
    return all(math.isclose(run.data.metrics[ruler], first[ruler], rel_tol=1e-3) for run in runs for ruler in rulers)
