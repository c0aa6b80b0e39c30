"""Python programs that begin with their libraries loaded: importing torch and MLflow takes longer than most tests."""

import atexit
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

LIBRARIES = [
    *("torch", "torch._dynamo", "torch._inductor.codecache", "torch.export._trace", "scipy.special", "PIL.Image"),
    *("mlflow.pytorch", "mlflow.pyfunc.model", "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking"),
    *("mlflow.system_metrics.system_metrics_monitor", "jinja2", "joblib", "ruamel.yaml"),
]
"""What the server of processes imports, once: nothing of the project.

Torch's optimizers import its compiler, ``torch._dynamo``; what MLflow saves a model with imports ``torch.export``.
"""


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context


class Program:
    """``python *arguments`` in ``folder``, in a process of its own; to be used as a ``Popen`` whose output is text."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        """Start it; ``arguments`` begin with -m or -c."""
        said = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, said, ignore_errors=True)
        self._files = [Path(said, name) for name in ("stdout", "stderr")]
        self._process = _server().Process(target=_be, args=(arguments, folder, dict(environment), self._files))
        self._process.start()
        self.args = arguments

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0, *self.output())
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Its output, when it has ended."""
        self.wait(timeout)
        return self.output()

    def output(self) -> tuple[str, str]:
        """Standard output and standard error up to now."""
        out, err = (file.read_text() if file.exists() else "" for file in self._files)
        return out, err


def _be(arguments: Sequence[str], folder: Path, environment: dict[str, str], files: list[Path]) -> None:
    """Become the program: output, folder, environment, number of threads, search path and arguments."""
    import torch

    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.path[:0] = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    kind, program, *rest = arguments
    sys.argv = [kind, *rest]
    try:
        if kind == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()
