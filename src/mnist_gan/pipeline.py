"""What determines a stage's outs: the deps and params that dvc.yaml lists for it, read from there and nowhere else."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from mnist_gan.config import REQUESTS, Config
from mnist_gan.files import sha256

PIPELINE = Path("dvc.yaml")
SOURCE = "src/"
SETS = "data/sets/"
RESULT = ("download", "prepare", "train", "ruler", "render", "evaluate")
"""The stages whose code and parameters determine what a run in MLflow holds."""


def inputs(stage: str, config: Config) -> dict[str, str]:
    """What ``stage`` depends on, but for what other stages made, which the caller has read.

    Parameters by key, as params.yaml may have them, and by path the SHA-256 of source files and of the data set's file.
    """
    params = config.model_dump()

    def resolve(reference: re.Match[str]) -> str:
        return str(_lookup(params, reference[1]))

    listed = _stages(re.sub(r"\$\{([\w.]+)\}", resolve, PIPELINE.read_text()))[stage]
    found: dict[str, str] = {}
    for key in listed.get("params", ()):
        found |= _flatten(key, _lookup(params, key))
    for dep in listed.get("deps", ()):
        if dep.startswith((SOURCE, SETS)):
            tracked = Path(f"{dep}.dvc")  # what git has of a file that is DVC's, which may not be here
            path = tracked if tracked.exists() else Path(dep)
            files = path.rglob("*.py") if path.is_dir() else [path]
            found |= {str(file): sha256(file.read_bytes()) for file in sorted(files)}
    return found


def determinants(config: Config, environment: Mapping[str, str]) -> str:
    """Names all that determines a result, its pictures and its measures: 64 hex digits.

    Not REQUESTS: what came of them is in ``environment``.
    """
    listed = [{key: value for key, value in inputs(stage, config).items() if key not in REQUESTS} for stage in RESULT]
    return sha256(json.dumps([*listed, dict(environment)], sort_keys=True).encode())


@cache
def _stages(text: str) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(text)["stages"])


def _lookup(params: Mapping[str, Any], key: str) -> Any:
    for part in key.split("."):
        params = params[part]
    return params


def _flatten(key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {key: value if isinstance(value, str) else json.dumps(value)}
    return {name: text for part, of in value.items() for name, text in _flatten(f"{key}.{part}", of).items()}
