"""Where the tracking store is: one meaning of MLFLOW_TRACKING_URI everywhere, and the database of a checkout."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from filelock import FileLock
from sqlalchemy import NullPool, create_engine, text

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
NAMES = ("databricks", "databricks-uc", "uc")
"""URIs that look like paths and are none."""
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""The columns of MLflow's database that name files."""
ADVISORY_LOCK = 0x6D6E6973745F6761
"""A number that no other program is likely to lock in a database."""


@dataclass(frozen=True)
class Address:
    """A store as MLflow is to be told of it: absolute, and without a secret."""

    uri: str
    username: str = ""
    password: str = ""
    database: Path | None = None
    """The file of an SQLite store."""

    @classmethod
    def of(cls, uri: str, root: Path) -> "Address":
        """What ``uri`` means, any that MLflow takes; relative paths begin at ``root``, and nothing is its own store."""
        parts = urlsplit(uri)
        if not uri or parts.scheme == "sqlite":
            path, options, query = uri.partition(":///")[2].partition("?")
            database = root / (path if uri else DATABASE)
            return cls(f"sqlite:///{database}{options}{query}", database=database)
        if parts.scheme in ("http", "https"):
            host = parts.netloc.rpartition("@")[2]
            plain = urlunsplit(parts._replace(netloc=host, path=parts.path.rstrip("/")))
            return cls(plain, unquote(parts.username or ""), unquote(parts.password or ""))
        if parts.scheme in ("", "file") and uri not in NAMES:
            return cls((root / (unquote(parts.path) if parts.scheme else uri)).as_uri())
        return cls(uri)


def without_secrets(text: str) -> str:
    """``text`` without the user and password of a URI."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def make_database(database: Path, fill: Callable[[str], object]) -> None:
    """Make ``database`` where it is not: ``fill`` gets the URI of a file aside, which is moved when it is whole."""
    if database.exists():
        return
    lock = database.with_name(f"{database.name}.lock")
    lock.touch()  # a folder that cannot be written fails here; the lock would wait for it
    with FileLock(lock):
        if database.exists():
            return
        aside = database.with_name(f".{database.name}.part")
        for left in database.parent.glob(f"{aside.name}*"):
            left.unlink()
        fill(f"sqlite:///{aside}")
        aside.rename(database)


@contextmanager
def alone_in(uri: str) -> Iterator[None]:
    """Make MLflow's tables in a PostgreSQL database while no other first start does: MLflow has no lock of its own."""
    if not uri.startswith("postgres"):
        yield
        return
    with create_engine(uri, poolclass=NullPool).connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({ADVISORY_LOCK})"))  # the end of the connection frees it
        yield


def move_artifacts(database: Path, experiment: str) -> str:
    """Where the artifacts of a checkout's ``database`` are: beside it, wherever it was when they were written."""
    here = str(database.with_name(ARTIFACTS))
    with closing(sqlite3.connect(database)) as store, store:
        (was,) = store.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
        if was != here:
            for table, column in PLACES:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                    (here, len(was) + 1, len(was), was),
                )
    return here
