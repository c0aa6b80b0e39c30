"""Many runs of MLflow in one report: reports/compare.html, one file, and reports/compare.md with its pictures."""

import argparse
from pathlib import Path

from mnist_gan import config
from mnist_gan.report import page
from mnist_gan.tracking.store import connect, store_failures_in_one_line


def main() -> None:
    """Compare the runs that the command line names."""
    options = parser().parse_args()
    store = connect()
    with store_failures_in_one_line():
        data = config.load().data.name
        every = store.named(options.runs) if options.runs else store.published(options.filter)
        runs = every if options.runs or options.filter else [run for run in every if run.data == data]
        verdict = page.write(runs, options.output)
    print(f"{verdict}\n{options.output / 'compare.html'}")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan compare", description=__doc__)
    chosen = made.add_mutually_exclusive_group()
    chosen.add_argument("--runs", nargs="+", metavar="RUN", help="starts of run ids or generator hashes, or run names")
    chosen.add_argument(
        "--filter",
        default="",
        help="an MLflow filter, as: params.`train.lr` = '0.0002'; else all of the data set",
    )
    made.add_argument("--output", type=Path, default=Path("reports"), help="folder of the report")
    return made
