"""Bring the result's run in MLflow up to date, and say how good the result is.

If nothing has changed since the last time, and the store still has the run, this prints the same lines again, without
torch and mlflow, whose imports take longer than everything else here.
"""

import json
import os
from importlib.metadata import version
from pathlib import Path

from mnist_gan import config, pipeline
from mnist_gan.config import Config
from mnist_gan.files import root, sha256, write_json
from mnist_gan.tracking import address, glance
from mnist_gan.tracking.address import Address
from mnist_gan.training import unfinished

SAID = Path(".dvc/tmp/published.json")
"""What ``publish`` printed last in this checkout, and for which run and inputs."""
FOLDERS = (Path("metrics"), Path("plots"), Path("models/generator"))
KERNELS = ("ATEN_", "CUDA_", "DNNL_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "PYTORCH_", "TORCH_")
"""Prefixes of environment variables that change how torch computes."""


def main() -> None:
    """Publish models/generator, metrics and plots: complete their run, or recreate it where the store has none."""
    of = key(config.load())
    if said := said_before(of):
        print(said)
        return
    from mnist_gan.stages._publish import publish

    run_id, published, now, later = publish()
    print(now)
    write_json(SAID, {"of": of, "run": run_id, "published": published, "said": later})


def said_before(of: str) -> str:
    """The lines for the same inputs, if their run is still published and no training waits in .unfinished/; else ""."""
    try:
        last = json.loads(SAID.read_text())
        store = Address.of(address.named(), root())
        whole = last["of"] == of and glance.is_published(store, last["run"], last["published"])
        return str(last["said"]) if whole and not unfinished.folders() else ""
    except (OSError, ValueError, KeyError):
        return ""


def key(params: Config) -> str:
    """The hash of everything that the printed lines depend on, except the store: 64 hex digits."""
    results = (path for folder in FOLDERS for path in folder.rglob("*") if path.is_file())
    files = sorted([*Path(pipeline.SOURCE).rglob("*.py"), pipeline.PIPELINE, *results])
    contents = {str(path): sha256(path.read_bytes()) for path in files}
    of = [contents, params.model_dump(), machine(), str(root()), address.named()]
    return sha256(json.dumps(of, sort_keys=True).encode())


def machine() -> list[str]:
    """What may change a training's environment, read without torch; rather too much than too little."""
    told = ("model name", "flags", "Features", "CPU part")
    processor = {line for line in _read("/proc/cpuinfo").splitlines() if line.startswith(told)}
    limits = [str(sorted(os.sched_getaffinity(0))), _read("/sys/fs/cgroup/cpu.max")]
    gpus = [_read("/proc/driver/nvidia/version"), *sorted(map(str, Path("/proc/driver/nvidia/gpus").glob("*")))]
    variables = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(KERNELS)]
    return [*sorted(processor), *limits, *gpus, *variables, version("torch"), version("mlflow")]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
