"""Whether a run is published, asked without mlflow, whose import takes seconds."""

import base64
import json
import os
import sqlite3
from contextlib import closing
from urllib.parse import quote
from urllib.request import Request, urlopen

from mnist_gan.tracking.address import ANSWER_S, Address


def is_published(address: Address, run_id: str, published: str) -> bool:
    """Whether the run is there, FINISHED, and has this tag ``published``; False also where that cannot be told."""
    try:
        if address.database:
            return _in_database(address, run_id, published)
        return address.uri.startswith("http") and _on_server(address, run_id, published)
    except (OSError, ValueError, KeyError, sqlite3.Error):
        return False


def _in_database(address: Address, run_id: str, published: str) -> bool:
    assert address.database
    with closing(sqlite3.connect(f"{address.database.as_uri()}?mode=ro", uri=True)) as store:
        found = store.execute(
            "SELECT 1 FROM runs JOIN tags USING (run_uuid) WHERE run_uuid = ? AND status = 'FINISHED' "
            "AND lifecycle_stage = 'active' AND key = 'published' AND value = ?",
            (run_id, published),
        )
        return found.fetchone() is not None


def _on_server(address: Address, run_id: str, published: str) -> bool:
    request = Request(f"{address.uri}/api/2.0/mlflow/runs/get?run_id={quote(run_id)}")
    user = address.username or os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = address.password or os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    if user:
        request.add_header("Authorization", f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}")
    with urlopen(request, timeout=ANSWER_S) as response:
        run = json.load(response)["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", ())}
    info = run["info"]
    return bool(
        info["status"] == "FINISHED" and info["lifecycle_stage"] == "active" and tags.get("published") == published
    )
