"""Where the tracking store is: one meaning of MLFLOW_TRACKING_URI everywhere, and the database of a checkout.

What opens a database imports sqlalchemy itself: that takes a second, which the stage ``check`` need not wait.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import urlopen

from filelock import FileLock

from mnist_gan.errors import UserError

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
ANSWER_S = 9
"""Seconds that a server may take for its first answer."""


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
        if not uri:
            return cls(database_uri(root / DATABASE), database=root / DATABASE)
        if parts.scheme.startswith("sqlite"):
            from sqlalchemy import make_url

            database = root / (make_url(uri).database or "")
            return cls("".join([database_uri(database), *uri.partition("?")[1:]]), database=database)
        if parts.scheme in ("http", "https"):
            host = parts.netloc.rpartition("@")[2]
            plain = urlunsplit(parts._replace(netloc=host, path=parts.path.rstrip("/")))
            return cls(plain, unquote(parts.username or ""), unquote(parts.password or ""))
        if parts.scheme in ("", "file") and uri not in NAMES:
            return cls((root / (unquote(parts.path) if parts.scheme else uri)).as_uri())
        return cls(uri)

    @property
    def artifacts(self) -> str | None:
        """The URI of the folder beside an SQLite store in which the files of its runs are; other stores know theirs."""
        return self.database.with_name(ARTIFACTS).as_uri() if self.database else None

    def check(self) -> None:
        """Knock at a server.

        Raises:
            OSError, SQLAlchemyError: it does not answer within ANSWER_S.
        """
        if self.uri.startswith("http"):
            try:
                urlopen(f"{self.uri}/health", timeout=ANSWER_S).close()
            except HTTPError:  # any answer is one
                pass
            except URLError as error:  # and so is a certificate, which MLflow has settings of its own for
                if not isinstance(error.reason, SSLError):
                    raise
        elif self.uri.startswith("postgres"):
            from sqlalchemy import NullPool, create_engine

            create_engine(self.uri, poolclass=NullPool, connect_args={"connect_timeout": ANSWER_S}).connect().close()


def named() -> str:
    """What MLFLOW_TRACKING_URI names; empty for the checkout's own store."""
    return os.environ.get("MLFLOW_TRACKING_URI", "")


def database_uri(database: Path) -> str:
    """The URI of an SQLite file, whatever characters its path has: a ``?`` would begin the options.

    The driver is named, as MLflow makes the folder of what stands after ``sqlite:///``, without undoing the quotes.
    """
    return f"sqlite+pysqlite:///{quote(str(database))}"


def unusable(uri: str, error: Exception) -> UserError:
    """The error for a store that cannot be used, whatever the kind of store made of it."""
    return UserError(f"MLflow at {without_secrets(uri) or DATABASE} cannot be used: {reason(error)}")


def reason(error: Exception) -> str:
    """What went wrong, in one line without a secret: what the system said, or else what the library said first."""
    cause: BaseException | None = error
    while cause:
        # requests' and urllib3's errors say "max retries exceeded" of a refused connection, and more of the like.
        error, cause = _by_system(cause) or error, cause.__cause__ or cause.__context__
    return without_secrets((str(error).splitlines() or [type(error).__name__])[0])


def _by_system(error: BaseException) -> Exception | None:
    return error if isinstance(error, OSError) and error.errno else None


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
        fill(database_uri(aside))
        aside.rename(database)


@contextmanager
def alone_in(uri: str) -> Iterator[None]:
    """Make MLflow's tables in a PostgreSQL database while no other first start does: MLflow has no lock of its own."""
    if not uri.startswith("postgres"):
        yield
        return
    from sqlalchemy import NullPool, create_engine, text

    with create_engine(uri, poolclass=NullPool).connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({ADVISORY_LOCK})"))  # the end of the connection frees it
        yield


def move_artifacts(database: Path, experiment: str, here: str) -> None:
    """Have the runs in a checkout's ``database`` find their files at ``here``, wherever they were written."""
    with closing(sqlite3.connect(database)) as store, store:
        (was,) = store.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
        if was != here:
            for table, column in PLACES:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                    (here, len(was) + 1, len(was), was),
                )
