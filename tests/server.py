"""A team's server without containers: PostgreSQL, and MLflow with basic authentication and proxied artifacts.

``python tests/server.py FOLDER`` runs one on loopback until Ctrl-C. With ``--kill-every SECONDS`` PostgreSQL and MLflow
are killed in turn, and started again.
"""

import argparse
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import free_port, mlflow_process


@dataclass
class Database:
    """A PostgreSQL database."""

    uri: str
    """Without the password."""
    password: str
    restart: Callable[[], None]
    """Kill it, and start it again."""


@dataclass
class Server:
    """Where it is, and who may enter."""

    uri: str
    username: str
    password: str
    process: "subprocess.Popen[bytes]"
    """MLflow's."""
    database: Database
    restart: Callable[[], None]
    """Kill MLflow, and start it again."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": self.username,
            "MLFLOW_TRACKING_PASSWORD": self.password,
        }


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


@contextmanager
def database(folder: Path) -> Iterator[Database]:
    """An empty one on loopback."""
    bin_folder, password, port = programs(), secrets.token_urlsafe(), free_port()
    assert bin_folder, "PostgreSQL is not installed"
    folder.mkdir()
    (folder / "password").write_text(password)
    # PostgreSQL refuses to run as root.
    become = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if become:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres")
        for above in folder.parents:
            if not above.stat().st_mode & 1:
                above.chmod(above.stat().st_mode | 0o111)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [*become, str(bin_folder / program), *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL
        )

    data = str(folder / "data")
    run("initdb", "--pgdata", data, "--username=mlflow", f"--pwfile={folder}/password", "--auth=scram-sha-256")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"

    def begin() -> None:
        run("pg_ctl", "start", "--wait", "--pgdata", data, "--log", str(folder / "log"), "--options", options)

    def kill() -> None:
        run("pg_ctl", "stop", "--pgdata", data, "--mode=immediate")

    def restart() -> None:
        kill()
        begin()

    begin()
    try:
        yield Database(f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres", password, restart)
    finally:
        kill()


@contextmanager
def team_server(folder: Path) -> Iterator[Server]:
    """A server whose database and artifacts lie in ``folder``."""
    folder.mkdir(exist_ok=True)
    with database(folder / "postgres") as store, ExitStack() as processes:
        settings = folder / "auth.ini"
        settings.write_text(
            f"[mlflow]\ndefault_permission = EDIT\ndatabase_uri = {store.uri}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "grant_default_workspace_access = true\nauth_cache_ttl_seconds = 60\n"
        )
        password, key, port = secrets.token_urlsafe(), secrets.token_urlsafe(), str(free_port())

        def begin() -> tuple[str, "subprocess.Popen[bytes]"]:
            return processes.enter_context(
                mlflow_process(
                    *("server", "--app-name", "basic-auth", "--workers", "2", "--backend-store-uri", store.uri),
                    *("--artifacts-destination", str(folder / "artifacts")),
                    folder=folder,
                    port=port,
                    PGPASSWORD=store.password,
                    MLFLOW_AUTH_CONFIG_PATH=str(settings),
                    MLFLOW_AUTH_ADMIN_USERNAME="admin",
                    MLFLOW_AUTH_ADMIN_PASSWORD=password,
                    MLFLOW_FLASK_SERVER_SECRET_KEY=key,
                )
            )

        def restart() -> None:
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()
            _, server.process = begin()

        address, process = begin()
        server = Server(address, "admin", password, process, store, restart)
        yield server


@contextmanager
def used_by_admin(folder: Path) -> Iterator[Server]:
    """A server in ``folder`` that this process enters as admin; tests that have no PostgreSQL skip, except in CI."""
    if programs() is None:
        assert "CI" not in os.environ, "CI needs postgresql"
        pytest.skip("a team's server (apt-get install postgresql)")
    with team_server(folder) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


def main() -> None:
    """Print the environment that enters the server, and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the database and the artifacts")
    parser.add_argument("--kill-every", type=float, metavar="SECONDS", help="default: never")
    chosen = parser.parse_args()
    with team_server(chosen.folder.resolve()) as server:
        print(*(f"export {name}={value}" for name, value in server.environment.items()), sep="\n", flush=True)
        if not chosen.kill_every:
            signal.pause()
        for kill in itertools.cycle((server.database.restart, server.restart)):
            time.sleep(chosen.kill_every)
            kill()


if __name__ == "__main__":
    main()
