"""A team's server without containers: PostgreSQL, and MLflow with basic authentication and proxied artifacts.

``python tests/server.py FOLDER`` runs one on loopback until Ctrl-C.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import mlflow_process


@dataclass
class Server:
    """Where it is, and who may enter."""

    uri: str
    username: str
    password: str
    process: "subprocess.Popen[bytes]"
    """MLflow's."""

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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def database(folder: Path) -> Iterator[tuple[str, str]]:
    """The URI of an empty PostgreSQL database on loopback, without its password, and that password."""
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
    run("pg_ctl", "start", "--wait", "--pgdata", data, "--log", str(folder / "log"), "--options", options)
    try:
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres", password
    finally:
        run("pg_ctl", "stop", "--pgdata", data, "--mode=immediate")


@contextmanager
def team_server(folder: Path) -> Iterator[Server]:
    """A server whose database and artifacts lie in ``folder``."""
    folder.mkdir(exist_ok=True)
    with database(folder / "postgres") as (uri, database_password):
        settings = folder / "auth.ini"
        settings.write_text(
            f"[mlflow]\ndefault_permission = EDIT\ndatabase_uri = {uri}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "grant_default_workspace_access = true\nauth_cache_ttl_seconds = 60\n"
        )
        password = secrets.token_urlsafe()
        with mlflow_process(
            *("server", "--app-name", "basic-auth", "--workers", "2", "--backend-store-uri", uri),
            *("--artifacts-destination", str(folder / "artifacts")),
            folder=folder,
            PGPASSWORD=database_password,
            MLFLOW_AUTH_CONFIG_PATH=str(settings),
            MLFLOW_AUTH_ADMIN_USERNAME="admin",
            MLFLOW_AUTH_ADMIN_PASSWORD=password,
            MLFLOW_FLASK_SERVER_SECRET_KEY=secrets.token_urlsafe(),
        ) as (address, process):
            yield Server(address, "admin", password, process)


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


if __name__ == "__main__":
    with team_server(Path(sys.argv[1]).resolve()) as running:
        print(*(f"export {name}={value}" for name, value in running.environment.items()), sep="\n", flush=True)
        running.process.wait()
