"""Serve MLflow's pages of this checkout's store, and say where to look.

Another store that MLFLOW_TRACKING_URI names is served in the same way if it is a file or a database; of a server, whose
pages are there already, the addresses are said.
"""

import argparse
import os
import sys

from mnist_gan.tracking.store import connect, pages, server


def main() -> None:
    """Print addresses, and become the server."""
    port = parser().parse_args().port
    store = connect()
    for name, address in pages(store, f"http://127.0.0.1:{port}").items():
        print(f"{name:26}{address}", flush=True)
    if command := server(store, port):
        # A warning of MLflow's own code about its own libraries, whose reader can do nothing about it.
        os.environ.setdefault("PYTHONWARNINGS", "ignore:starlette.middleware.wsgi is deprecated")
        os.execv(sys.executable, [sys.executable, "-m", *command])  # noqa: S606


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan ui", description=__doc__)
    made.add_argument("--port", type=int, default=5000, help="of 127.0.0.1; 5000 unless given")
    return made
