"""What one MLflow server bears: so many trainings at once that are followed live, and one person who looks at the runs.

Each training is the checkout's last one, played again in so many seconds: its losses and pictures go to a run of its
own, as ``train`` sends them, with the system's metrics. It computes nothing, so that what is measured is the server and
what a training waits for it. Then each run's curves are compared with what was sent, point for point.

``MLFLOW_TRACKING_URI`` names the server, which keeps the runs; ``python tests/server.py FOLDER`` starts a team's.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from mnist_gan.tracking.live import live_run
from mnist_gan.tracking.run import window_means, window_of
from mnist_gan.tracking.store import connect
from mnist_gan.training import generators, unfinished
from mnist_gan.training.trainer import COLLECT_S

THREADS = 10
"""Trainings that one process plays."""
COLUMNS = (
    "trainings at once",
    "run begun after (s)",
    "waited for the server",
    "whole at the end",
    "points lost or doubled after it",
    "list of runs (s)",
)


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, nargs="+", default=[20, 50, 100], help="default 20, 50 and 100")
    parser.add_argument("--seconds", type=float, default=120, help="that a training takes; default 120")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|")
    for count in chosen.trainings:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["DVC_ROOT"] = folder  # where trainings wait to be published
            print(f"| {' | '.join(measured(count, chosen.seconds))} |", flush=True)


def measured(count: int, seconds: float) -> list[str]:
    """The cells of a row."""
    over = threading.Event()
    waits: list[float] = []
    looking = threading.Thread(target=look, args=(over, waits))
    # Forked, as a hundred programs that import torch and MLflow would need 50 GB.
    with multiprocessing.get_context("fork").Pool(-(-count // THREADS)) as pool:
        parts = [range(first, min(first + THREADS, count)) for first in range(0, count, THREADS)]
        played = pool.starmap_async(play, [(part, seconds) for part in parts])
        looking.start()
        trainings = [training for part in played.get() for training in part]
    over.set()
    looking.join()
    begun, blocked, whole, wrong = zip(*trainings, strict=True)
    return [
        str(count),
        f"{statistics.median(begun):.1f}, {max(begun):.1f} at the most",
        f"{statistics.median(blocked):.2%}, {max(blocked):.2%} at the most",
        f"{sum(whole)}",
        f"{sum(wrong)}",
        f"{statistics.median(waits):.1f}, {max(waits):.1f} at the most" if waits else "none",
    ]


def look(over: threading.Event, waits: list[float]) -> None:
    """Ask for the newest hundred runs, as the page of runs does every so often."""
    store = connect()
    while not over.wait(COLLECT_S):
        begun = time.perf_counter()
        store.client.search_runs([store.experiment_id], order_by=["attributes.start_time DESC"], max_results=100)
        waits.append(time.perf_counter() - begun)


def play(numbers: range, seconds: float) -> list[tuple[float, float, bool, int]]:
    """Play so many trainings at once."""
    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(lambda number: play_one(number, seconds), numbers))


def play_one(number: int, seconds: float) -> tuple[float, float, bool, int]:
    """Seconds until its run was begun, the part of its time that it waited, whether it was whole, points amiss."""
    state, origin = generators.read_training(), generators.read().origin
    record, samples = state["losses"], generators.samples_of(state)
    epoch_steps = len(record) // int(origin.options["epochs"])
    begun = time.perf_counter()
    store = connect()
    waited = 0.0
    with (
        unfinished.exclusive({"training": f"{os.getpid()} {number}"}) as mine,
        live_run(store, mine, origin, epoch_steps) as live,
    ):
        to_begin, started, done = time.perf_counter() - begun, time.perf_counter(), 0
        while done < len(record):
            time.sleep(COLLECT_S)
            now = time.perf_counter()
            steps = min(len(record), round((now - started) / seconds * len(record)))
            live.losses(done, record[done:steps])
            for step in samples:
                if done < step <= steps:
                    live.samples(step, samples[step])
            done = steps
            waited += time.perf_counter() - now
        mine.end(f"{number:064x}")
        ending = time.perf_counter()
    waited += time.perf_counter() - ending
    sent = [step for step, _ in window_means(0, record, window_of(epoch_steps))]
    # Read without a retry's duplicates being dropped, which ``TrackedRun.history`` would do.
    points = store.client.get_metric_history(live.run.id, f"train/{origin.record[0]}")
    stored = sorted(point.step for point in points)
    whole = stored == sent
    amiss = len(set(sent) ^ set(stored)) + len(stored) - len(set(stored)) if not live.lost else 0
    return to_begin, waited / seconds, whole, amiss


if __name__ == "__main__":
    main()
