"""How MLflow's pages show the runs side by side: a saved view of the experiment, which its menu **Views** lists.

Left to itself, MLflow shows charts in the order of their names, and no parameter beside a run's name. The form is what
its own **Save view** writes, which no document describes: MLflow 3.17.2. If a later MLflow changes it, its page opens
as if there were no view, and tests/tracking/test_ui.py fails; nothing else depends on it.
"""

import json
from typing import Any

from mnist_gan.quality.guards import SPACES
from mnist_gan.tracking.run import FINAL_SAMPLES

NAME = "generators"
TITLE = "Generators side by side"
TAG = f"mlflow.sharedViewState.{NAME}"
QUERY = f"viewStateShareKey={NAME}&compareRunsMode=CHART&workflowType=machine_learning"
"""What the address of the experiment's runs ends with to show them so."""
COLUMNS = {
    "params.`train.variant`": 100,
    "tags.`distance`": 190,
    "tags.`draws`": 210,
    "params.`train.seed`": 90,
    "tags.`training.seconds`": 130,
}
"""Of the table of runs, with their widths in pixels."""
SECTION = "first"
RUNS = 10
"""Runs that a chart shows at most."""


def saved() -> str:
    """The value of TAG: sample grids, losses and distances in one row, and what sets runs apart in the table."""
    state = {
        "selectedColumns": [*COLUMNS],
        "columnOrder": [*COLUMNS],
        "columnWidths": COLUMNS,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "isAccordionReordered": True,
        "compareRunSections": [{"uuid": SECTION, "name": "Generators", "display": True, "isReordered": True}],
        "compareRunCharts": [
            _card("samples", "IMAGE", imageKeys=[FINAL_SAMPLES], showRunParams=False),
            _line("losses", "train/loss_g", "train/loss_d"),
            _line("distance", "validation/frechet_distance", scaleType="log"),
            *(_card(kind, "BAR", metricKey=f"{kind}/frechet_distance") for kind in SPACES),
        ],
    }
    return json.dumps({"name": TITLE, "createdAt": 0, "state": json.dumps(state)})


def _line(name: str, *metrics: str, **changes: Any) -> dict[str, Any]:
    usual = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "lineSmoothness": 0}
    return _card(name, "LINE", metricKey=metrics[0], selectedMetricKeys=metrics, **usual | changes)


def _card(name: str, kind: str, **of_kind: Any) -> dict[str, Any]:
    common = {"uuid": name, "displayName": name, "type": kind, "metricSectionId": SECTION, "runsCountToCompare": RUNS}
    return common | {"deleted": False, "isGenerated": False} | of_kind
