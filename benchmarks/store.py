"""One person with many runs: how long commands and the UI take where mlflow.db holds so many.

The runs are copies of the checkout's last published one, with all its metrics, parameters and tags, in a database of
their own; so `dvc repro` comes first. Each command is a whole process, and the page is opened in Chromium.
"""

import argparse
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.ui import WebDriverWait

from mnist_gan.tracking import view
from mnist_gan.tracking.address import database_uri

DATABASE = Path("mlflow.db")
ROWS = {"runs": "run_uuid", "params": "run_uuid", "tags": "run_uuid", "metrics": "run_uuid",
        "latest_metrics": "run_uuid", "inputs": "destination_id"}  # fmt: skip
"""The tables of MLflow that hold a run, and the column that names it."""
COMPARED = 10
"""Runs in the report, however many there are."""


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 2000], help="default 10 and 2000")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement, of which the median is shown")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browser() as driver:
        columns = {}
        for count in chosen.runs:
            database = Path(folder, f"{count}.db")
            names = multiply(database, count)
            os.environ["MLFLOW_TRACKING_URI"] = database_uri(database)
            commands = {
                "publish, nothing to do": ("publish",),
                f"compare {COMPARED} of them": ("compare", "--runs", *names[:COMPARED], "--output", f"{folder}/ten"),
                "promote": ("promote",),
            }
            command("publish")  # the first one in a store asks it for everything
            timed = {name: median(chosen.repeats, partial(command, *words)) for name, words in commands.items()}
            with served(database) as uri:
                timed["the UI's first page"] = median(chosen.repeats, partial(look, driver, uri))
            columns[count] = timed | {"mlflow.db (MB)": database.stat().st_size / 1e6}
        print(f"| seconds, median of {chosen.repeats} | {' | '.join(f'{count:,} runs' for count in columns)} | ratio |")
        print("| --- " * (len(columns) + 2) + "|")
        first, *_, last = columns.values()
        for name in first:
            cells = [f"{column[name]:.3g}" for column in columns.values()]
            print(f"| {name} | {' | '.join(cells)} | {last[name] / first[name]:.2f} |")


def multiply(database: Path, count: int) -> list[str]:
    """Make ``database`` the checkout's, with ``count`` runs like the last published one; their ids."""
    shutil.copy(DATABASE, database)
    with closing(sqlite3.connect(database)) as store, store:
        (first,) = store.execute(
            "SELECT run_uuid FROM runs JOIN tags USING (run_uuid) WHERE key = 'published' AND status = 'FINISHED' "
            "ORDER BY start_time DESC LIMIT 1"
        ).fetchone()
        for table, column in ROWS.items():
            store.execute(f"DELETE FROM {table} WHERE {column} != ?", (first,))  # noqa: S608
        ids = [first, *(f"{number:032x}" for number in range(1, count))]
        for number, new in enumerate(ids[1:], start=1):
            for table, column in ROWS.items():
                names = [name for _, name, *_ in store.execute(f"PRAGMA table_info({table})")]
                taken = ["?1" if name == column else name for name in names]
                store.execute(
                    f"INSERT INTO {table} SELECT {', '.join(taken)} FROM {table} WHERE {column} = ?2",  # noqa: S608
                    (new, first),
                )
            store.execute("UPDATE runs SET start_time = start_time - ? WHERE run_uuid = ?", (number * 60_000, new))
            for table, key in (("tags", "seed"), ("params", "train.seed"), ("tags", "generator.sha256")):
                value = f"{number:064x}" if key == "generator.sha256" else str(number)
                store.execute(
                    f"UPDATE {table} SET value = ? WHERE run_uuid = ? AND key = ?",  # noqa: S608
                    (value, new, key),
                )
    return ids


def command(*words: str) -> float:
    """Seconds of a command of the project."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mnist_gan", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def median(repeats: int, measure: Callable[[], float]) -> float:
    """Of several measurements."""
    return statistics.median(measure() for _ in range(repeats))


@contextmanager
def browser() -> Iterator[Chrome]:
    """Headless Chromium."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    driver = Chrome(options, ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def served(database: Path) -> Iterator[str]:
    """The address of MLflow's server on ``database``, as `make ui` starts it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ("mlflow", "server", "--port", str(port), "--workers", "1", "--backend-store-uri", database_uri(database))
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        [sys.executable, "-m", *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{uri}/health").close()
                break
            except OSError:
                time.sleep(0.1)
        yield uri
    finally:
        server.terminate()
        server.wait()


def look(driver: Chrome, uri: str) -> float:
    """Seconds until the view of the runs side by side shows some."""
    driver.get("about:blank")
    begun = time.perf_counter()
    driver.get(f"{uri}/#/experiments/1/runs?{view.QUERY}")
    WebDriverWait(driver, 120, 0.1).until(
        lambda it: it.execute_script("return document.body.innerText").count("epochs seed") > 5
    )
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
