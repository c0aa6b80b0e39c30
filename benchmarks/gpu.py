"""What this project does on the GPU of this machine, as a page in Markdown for docs/benchmarks.md: ``make gpu-check``.

Neither MLflow nor DVC is needed: torch (2.11 or newer) with torchvision, numpy, pytest, and the small libraries that
the networks and the training import, pydantic and ruamel.yaml first.
"""

import argparse
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import step
import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from mnist_gan import config, variants
from mnist_gan.config import Config, Device
from mnist_gan.data.prepared import digest, read_prepared
from mnist_gan.files import read_tensors
from mnist_gan.training import hardware, unfinished
from mnist_gan.training.engine import Engine
from mnist_gan.training.generators import Origin
from mnist_gan.training.trainer import Trainer

PROFILED = 50
"""Steps that the profiler looks at."""
TRAINING_S = 2
"""Seconds of a training that is killed and goes on."""


def machine(params: Config, names: list[str]) -> str:
    """What the figures are of."""
    here = hardware.choose(params.train.device, params.train.precision)
    about = [here.environment["device"], f"{here.precision} ({here.reason})", f"torch {torch.__version__}"]
    if here.device.type == "cuda":
        about += [f"CUDA {torch.version.cuda}", f"cuDNN {torch.backends.cudnn.version()}", f"driver {_driver()}"]
        about += [f"compute capability {'.'.join(map(str, torch.cuda.get_device_capability()))}"]
    return ", ".join([*about, f"Python {platform.python_version()}"])


def _driver() -> str:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def tests(params: Config, names: list[str]) -> str:
    """The last line of tests/training/test_cuda.py."""
    # Without the settings that name pytest-xdist and sqlalchemy.
    plain = ["-o", "addopts=", "-o", "filterwarnings=error"]
    command = [sys.executable, "-m", "pytest", *plain, "-q", "tests/training/test_cuda.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"tests/training/test_cuda.py fails:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return f"`pytest tests/training/test_cuda.py`: {done.stdout.splitlines()[-1].strip('= ')}"


def steps(params: Config, names: list[str]) -> str:
    """A table: what a step of each variant takes, how often it is launched, and how long the GPU waits."""
    rows = ["| variant | step (ms) | epoch (s) | launches a step | GPU busy |", "| --- | --- | --- | --- | --- |"]
    for name in names:
        engine = _engine(params, name)
        list(engine.epoch())  # captures
        seconds = _seconds_of_an_epoch(engine)
        launches, busy = _profile(engine)
        took = f"{1000 * seconds / engine.epoch_steps:.3g} | {seconds:.3g}"
        rows.append(f"| {name} | {took} | {launches:.3g} | {busy:.0%} |")
    return "\n".join(rows)


def _engine(params: Config, name: str) -> Engine:
    hardware.configure(params.train.deterministic)
    shared = params.train.model_copy(update={"variant": name})
    return Engine(shared, variants.parse(name, params.variants[name]), read_prepared("train"))


def _seconds_of_an_epoch(engine: Engine) -> float:
    started = time.perf_counter()
    torch.stack(list(engine.epoch())).cpu()
    return time.perf_counter() - started


def _profile(engine: Engine) -> tuple[float, float]:
    """Launches a step, and the part of the time between the first kernel and the last in which one runs."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if engine.device.type == "cuda" else [])]
    with profile(activities=activities, acc_events=True) as seen:  # without it torch 2.11 warns
        records = [record for record, _ in zip(engine.epoch(), range(PROFILED), strict=False)]
        torch.stack(records).cpu()
    events = seen.events()
    launches = [event for event in events if event.name.startswith(("cudaGraphLaunch", "cudaLaunchKernel"))]
    kernels = sorted((e.time_range.start, e.time_range.end) for e in events if e.device_type == DeviceType.CUDA)
    busy, until = 0.0, -math.inf
    for start, end in kernels:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return len(launches) / len(records), busy / (until - kernels[0][0]) if kernels else math.nan


def ratio(params: Config, names: list[str]) -> str:
    """The table of benchmarks/step.py, for the variants of the article."""
    rows = [step.HEAD]
    for name in names:
        if name in step.ARTICLE:
            shared = params.train.model_copy(update={"variant": name})
            rows.append(step.compare(shared, variants.parse(name, params.variants[name]), blocks=5, block_s=2))
    return "\n".join(rows)


def bits(params: Config, names: list[str]) -> str:
    """Trains each variant twice, and a third time with a kill in the middle: whether all ends are equal."""
    lines = []
    for name in names:
        engine = _engine(params, name)
        list(engine.epoch())
        epochs = max(2, math.ceil(TRAINING_S / _seconds_of_an_epoch(engine)))
        third = epochs * engine.epoch_steps // 3
        del engine
        command = [sys.executable, str(Path(__file__).resolve()), "--train", name, str(epochs), params.train.device]
        ends = []
        for killed in (False, False, True):
            with tempfile.TemporaryDirectory() as folder:
                for needed in ("data", "params.yaml"):
                    Path(folder, needed).symlink_to(Path(needed).resolve())
                if killed:
                    at = _killed(command, Path(folder), third)
                done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
                ends.append(done.stdout.split()[-1])
        if len(set(ends)) > 1:
            raise RuntimeError(f"{name}: other bits: {', '.join(ends)}")
        lines.append(f"- `{name}`, {epochs} epochs, twice, and once killed after step {at:,}: all {ends[0][:12]}")
    return "\n".join(lines)


def _killed(command: list[str], folder: Path, least: int) -> int:
    """Kill a training in ``folder`` once it has saved a state of ``least`` steps or more; the steps that are in it."""
    training = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    at = 0
    while at < least and training.poll() is None:
        for state in folder.glob(".unfinished/*/state.safetensors"):
            at = int(read_tensors(state)[0]["steps"])
        time.sleep(0.01)
    training.kill()
    training.wait()
    if at < least or list(folder.glob(".unfinished/*/finished.json")):
        raise RuntimeError("the training was over before it could be killed")
    return at


def train(name: str, epochs: int, device: Device) -> str:
    """Train in the current folder, or go on with what is there; the SHA-256 of the generator's file."""
    params = config.load()
    shared = params.train.model_copy(update={"variant": name, "device": device})
    hardware.configure(shared.deterministic)
    options = variants.parse(name, params.variants[name] | {"epochs": epochs})
    split = read_prepared("train")
    engine = Engine(shared, options, split)
    channels, height, width = split.images.shape[1:]
    origin = Origin(
        variant=name,
        image_shape=(channels, height, width),
        shared=shared.model_dump(),
        options=options.model_dump(),
        record=engine.variant.record,
        data_sha256=digest(split),
        environment=engine.hardware.environment,
    )
    unfinished.INTERVAL_S = TRAINING_S / 10
    with unfinished.exclusive({"train.variant": name}) as mine:
        Trainer(shared, engine, origin, mine, []).train(mine.read())
        assert mine.finish
        return mine.finish.generator


SECTIONS: dict[str, Callable[[Config, list[str]], str]] = {
    "machine": machine,
    "tests": tests,
    "steps": steps,
    "ratio": ratio,
    "bits": bits,
}
TITLES = {
    "machine": "The machine",
    "tests": "The engine's tests on CUDA",
    "steps": "A step",
    "ratio": "A step against the article's script",
    "bits": "The same bits",
}


def main() -> None:
    """Print the page, a section at a time; exit code 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="default cuda; cpu tries the script")
    parser.add_argument("--variants", nargs="+", choices=config.VARIANTS, default=config.VARIANTS, help="default all")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=[*SECTIONS], help="sections; default all")
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        name, epochs, device = options.train
        print(train(name, int(epochs), device))
        return
    paths = [str(Path(__file__).resolve().parents[1] / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    if not Path("data/prepared").exists():
        for stage in ("download", "prepare"):
            subprocess.run([sys.executable, "-m", "mnist_gan", stage], check=True)
    params = config.load()
    params = params.model_copy(update={"train": params.train.model_copy(update={"device": options.device})})
    failed = False
    for section in options.only:
        print(f"## {TITLES[section]}\n", flush=True)
        try:
            print(SECTIONS[section](params, options.variants), flush=True)
        except Exception as error:  # the others may well work
            failed = True
            print(f"**Failed**: {type(error).__name__}: {error}", flush=True)
        print(flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
