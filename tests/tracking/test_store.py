"""The store, as it is moved, deleted, lost and shared. Real databases and servers."""

import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ODD, RESULT, artifact, mlflow_process, paste, run_python, run_stage, set_params, start, uri_of
from forked import Program
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.file_utils import local_file_uri_to_path

from mnist_gan.tracking.address import PLACES, Address, without_secrets
from mnist_gan.training import generators


def runs(uri: str) -> list[Run]:
    return list(MlflowClient(uri).search_runs(["1"], order_by=["attributes.start_time ASC"]))


def make_result(folder: Path, **environment: str) -> None:
    done = run_python("-c", RESULT, folder=folder, **environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def checkout(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``published`` in a folder with an ODD name, with the files of its last result; the current folder."""
    folder = tmp_path / ODD
    shutil.copytree(published, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def test_a_checkout_takes_its_store_with_it(checkout: Path) -> None:
    there = checkout.rename(checkout.with_name("Übung #1's?\nwhat"))
    assert "(up to date)" in run_stage("publish", there).stdout
    client = MlflowClient(uri_of(there))
    found = client.search_runs(["1"])
    assert len(found) == 4
    for run in found:
        assert run.info.artifact_uri.startswith(there.as_uri())
        assert Path(client.download_artifacts(run.info.run_id, "plots/samples.png")).stat().st_size > 1000
    models = client.search_logged_models(["1"])
    assert len(models) == 8
    for model in models:
        location = Path(local_file_uri_to_path(model.artifact_location))
        assert location.is_relative_to(there)
        assert (location / "MLmodel").exists()

    with (there / "plots/samples.png").open("ab") as picture:
        picture.write(b"other")
    assert "(completed)" in run_stage("publish", there).stdout
    assert (there / f"mlruns/{last(there)}/artifacts/plots/samples.png").read_bytes().endswith(b"other")


def last(folder: Path) -> str:
    """The id of the folder's newest run."""
    return str(runs(uri_of(folder))[-1].info.run_id)


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("", "sqlite+pysqlite:////check%3Fout/mlflow.db"),
        ("sqlite:///other.db", "sqlite+pysqlite:////check%3Fout/other.db"),
        ("sqlite:////abs/other.db", "sqlite+pysqlite:////abs/other.db"),
        ("sqlite:////abs/o%3Fther.db", "sqlite+pysqlite:////abs/o%3Fther.db"),
        ("sqlite:///other.db?timeout=9", "sqlite+pysqlite:////check%3Fout/other.db?timeout=9"),
        ("runs", "file:///check%3Fout/runs"),
        ("./runs", "file:///check%3Fout/runs"),
        ("file:///abs/runs", "file:///abs/runs"),
        ("http://host:5000/", "http://host:5000"),
        ("https://host/prefix/", "https://host/prefix"),
        ("http://me:se%40cret@host:5000", "http://host:5000"),
        ("postgresql://me:secret@host/db", "postgresql://me:secret@host/db"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_means_one_thing_everywhere(uri: str, meant: str) -> None:
    address = Address.of(uri, Path("/check?out"))
    assert address.uri == meant
    assert "secret" not in without_secrets(address.uri)
    if "%40" in uri:
        assert (address.username, address.password) == ("me", "se@cret")


def test_no_secret_is_said() -> None:
    assert (
        without_secrets("cannot reach http://me:pass@host/x or sql://a:b@c") == "cannot reach http://host/x or sql://c"
    )


def test_a_relative_store_is_the_same_for_an_experiment_in_another_folder(checkout: Path, tmp_path: Path) -> None:
    (checkout / "mlflow.db").rename(checkout / "own.db")
    elsewhere = tmp_path / "experiment"
    shutil.copytree(checkout, elsewhere, symlinks=True, ignore=shutil.ignore_patterns("own.db*", "mlruns"))
    done = run_stage("publish", elsewhere, MLFLOW_TRACKING_URI="sqlite:///own.db", DVC_ROOT=str(checkout))
    assert "(up to date)" in done.stdout, done.stderr
    assert not (elsewhere / "own.db").exists()


def test_a_command_in_a_subfolder_finds_the_checkout(checkout: Path) -> None:
    below = checkout / "docs/below"
    below.mkdir(parents=True)
    done = run_python("-m", "mnist_gan", "compare", folder=below)
    assert done.returncode == 0, done.stderr
    assert (checkout / "reports/compare.html").exists()
    assert list(below.iterdir()) == []


def test_outside_of_a_checkout_is_one_line(tmp_path: Path) -> None:
    done = run_python("-m", "mnist_gan", "compare", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path} is in no checkout of mnist-gan: there is no dvc.yaml in it or above\n"
    assert list(tmp_path.iterdir()) == []


def test_a_deleted_experiment_is_said_with_what_brings_it_back(checkout: Path) -> None:
    MlflowClient(uri_of(checkout)).delete_experiment("1")
    for stage in ("train", "publish"):
        done = run_stage(stage, checkout)
        assert done.returncode == 1
        assert done.stderr.startswith("error: the experiment mnist-gan was deleted in MLflow: `")
        assert done.stderr.count("\n") == 1
    paste(done.stderr, checkout)
    assert "(up to date)" in run_stage("publish", checkout).stdout


def test_a_deleted_champion_makes_room_for_another(checkout: Path) -> None:
    uri = uri_of(checkout)
    client = MlflowClient(uri)
    assert "is champion: there was none before" in run_stage("promote", checkout).stdout
    champion = client.get_model_version_by_alias("mnist-gan", "champion").run_id
    assert champion
    client.delete_run(champion)
    subprocess.run(
        [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri],
        check=True, cwd=checkout, capture_output=True, env=os.environ | {"MLFLOW_TRACKING_URI": uri},
    )  # fmt: skip
    assert "is champion: there was none before" in run_stage("promote", checkout).stdout
    assert client.get_model_version_by_alias("mnist-gan", "champion").run_id != champion


def test_another_ruler_is_named(checkout: Path) -> None:
    def ruler() -> str:
        return runs(uri_of(checkout))[-1].data.tags["ruler"]

    before = ruler()
    set_params(checkout, evaluate__seed=5)
    for stage in ("evaluate", "publish"):
        assert run_stage(stage, checkout).returncode == 0
    assert ruler() != before


def test_a_store_that_fails_in_the_middle_is_one_line(checkout: Path) -> None:
    set_params(checkout, train__seed=5)
    with sqlite3.connect(checkout / "mlflow.db") as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(FAIL, 'read only'); END")
    done = run_stage("train", checkout)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: MLflow fails: ")
    assert "Traceback" not in done.stderr


OLDER = """
import sys
import alembic.command
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine
first = create_engine(sys.argv[1])
Base.metadata.create_all(first)
first.dispose()
script = _get_alembic_config(sys.argv[1])
before = ScriptDirectory.from_config(script).get_revision("head").down_revision
alembic.command.upgrade(script, before)
print(before)
"""
"""Makes a database as the MLflow before its last migration did, and prints that one's revision."""


def test_a_store_of_an_older_mlflow_is_upgraded_or_said_with_what_upgrades_it(checkout: Path) -> None:
    """MLflow itself upgrades one that has not all of its tables, and refuses one that has them in an older form."""
    (checkout / "mlflow.db").unlink()
    made = run_python("-c", OLDER, uri_of(checkout), folder=checkout)
    assert made.returncode == 0, made.stderr
    published = run_stage("publish", checkout)
    assert "(recreated)" in published.stdout, published.stderr

    with sqlite3.connect(checkout / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (made.stdout.split()[-1],))
    done = run_stage("promote", checkout)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the store is of another MLflow: ")
    assert done.stderr.count("\n") == 1
    assert shlex.split(done.stderr.split("`")[1]) == ["mlflow", "db", "upgrade", uri_of(checkout)]


def test_a_database_that_the_ui_made_first_is_used(checkout: Path) -> None:
    """As by `make ui` before the first training: MLflow's tables, and no experiment of ours."""
    for path in (checkout / "mlflow.db", checkout / "mlruns"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    SqlAlchemyStore(uri_of(checkout), (checkout / "mlruns").as_uri())
    assert "(recreated)" in run_stage("publish", checkout).stdout
    (run,) = runs(uri_of(checkout))
    assert run.info.artifact_uri.startswith(checkout.as_uri())


def model_of(version: ModelVersion) -> str:
    """The id of the LoggedModel that it was made of."""
    return str(version.source).removeprefix("models:/")


def without_files(client: MlflowClient, version: ModelVersion) -> None:
    shutil.rmtree(local_file_uri_to_path(client.get_logged_model(model_of(version)).artifact_location))


def without_model(client: MlflowClient, version: ModelVersion) -> None:
    """As the UI deletes it, and `mlflow gc` after that."""
    without_files(client, version)
    client.delete_logged_model(model_of(version))


@pytest.mark.parametrize("lose", [without_files, without_model])
def test_a_champion_that_cannot_be_loaded_is_registered_anew(
    checkout: Path, lose: Callable[[MlflowClient, ModelVersion], None]
) -> None:
    client = MlflowClient(uri_of(checkout))
    assert "is champion: there was none before" in run_stage("promote", checkout).stdout
    before = client.get_model_version_by_alias("mnist-gan", "champion")
    lose(client, before)
    said = run_stage("promote", checkout)
    assert said.stdout.splitlines()[0] == "the champion could not be loaded: it is version 2 now", said.stderr
    assert "it is the champion already" in said.stdout
    after = client.get_model_version_by_alias("mnist-gan", "champion")
    assert (str(after.version), after.run_id) == ("2", before.run_id)
    loads = "import mlflow; print(mlflow.pyfunc.load_model('models:/mnist-gan@champion').predict([{'seed': 1}]).shape)"
    done = run_python("-c", loads, folder=checkout, MLFLOW_TRACKING_URI=uri_of(checkout))
    assert done.stdout == "(1, 1)\n", done.stderr
    assert "could not" not in run_stage("promote", checkout).stdout


def test_a_champion_whose_generator_is_lost_makes_room_for_the_best_of_the_others(checkout: Path) -> None:
    client = MlflowClient(uri_of(checkout))
    assert run_stage("promote", checkout).returncode == 0
    before = client.get_model_version_by_alias("mnist-gan", "champion")
    without_files(client, before)
    assert before.run_id
    shutil.rmtree(artifact(client.get_run(before.run_id), ""))
    shutil.rmtree(checkout / "models/generator")
    said = run_stage("promote", checkout)
    assert " is lost: neither its model nor its generator can be read" in said.stdout.splitlines()[0], said.stderr
    assert "passed over: generator.safetensors of run " in said.stdout
    assert "is champion: there was none before" in said.stdout
    after = client.get_model_version_by_alias("mnist-gan", "champion")
    assert after.run_id != before.run_id


def test_an_alias_or_a_model_that_was_taken_away_is_given_anew(checkout: Path) -> None:
    client = MlflowClient(uri_of(checkout))
    assert run_stage("promote", checkout).returncode == 0
    first = client.get_model_version_by_alias("mnist-gan", "champion")
    other = client.create_run("0").info.run_id
    foreign = client.create_model_version("mnist-gan", source="file:///elsewhere", run_id=other)
    client.set_registered_model_alias("mnist-gan", "champion", foreign.version)
    said = run_stage("promote", checkout).stdout
    assert said.startswith(f"version {foreign.version}, which had the alias, is of no run here")
    assert client.get_model_version_by_alias("mnist-gan", "champion").version == first.version

    client.delete_model_version("mnist-gan", str(first.version))
    assert "is champion: there was none before" in run_stage("promote", checkout).stdout
    client.delete_registered_model("mnist-gan")
    assert "is champion: there was none before" in run_stage("promote", checkout).stdout


def test_a_store_of_version_0_2_names_its_files_by_uris_from_now_on(checkout: Path) -> None:
    with sqlite3.connect(checkout / "mlflow.db") as database:
        for table, column in PLACES:
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (checkout.as_uri(), str(checkout))
            )
    assert run_stage("compare", checkout).returncode == 0
    client = MlflowClient(uri_of(checkout))
    for run in client.search_runs(["1"]):
        assert Path(client.download_artifacts(run.info.run_id, "plots/samples.png")).stat().st_size > 1000


def test_a_champion_that_cannot_be_looked_up_is_not_taken_for_gone(checkout: Path) -> None:
    uri = uri_of(checkout)
    assert run_stage("promote", checkout).returncode == 0
    before = MlflowClient(uri).get_model_version_by_alias("mnist-gan", "champion").run_id
    with sqlite3.connect(checkout / "mlflow.db") as database:
        database.execute("ALTER TABLE latest_metrics RENAME TO elsewhere")
    done = run_stage("promote", checkout)
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow fails: ")
    assert MlflowClient(uri).get_model_version_by_alias("mnist-gan", "champion").run_id == before


def start_training(folder: Path, uri: str, epochs: int) -> Program:
    """A training with one checkpoint, which goes on for more than a second."""
    set_params(folder, variants__gan__epochs=epochs, train__checkpoints=1)
    training = start(folder=folder, MLFLOW_TRACKING_URI=uri)
    while not list(folder.glob(".unfinished/*/state.safetensors")):
        assert training.poll() is None, training.communicate()
        time.sleep(0.05)
    time.sleep(1)
    return training


def test_training_outlives_its_server(small: Path, server: tuple[str, "subprocess.Popen[bytes]"]) -> None:
    uri, process = server
    training = start_training(small, uri, 60)
    os.killpg(process.pid, signal.SIGKILL)
    _, errors = training.communicate()
    assert training.returncode == 0, errors
    assert errors.count("tracking lost, training goes on") == 1
    assert "Traceback" not in errors
    assert generators.FINAL.exists()


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_stop_is_quick_while_the_server_is_gone(
    small: Path, server: tuple[str, "subprocess.Popen[bytes]"], how: signal.Signals
) -> None:
    """Within ten seconds, which is the feature; with MLflow's own settings."""
    uri, process = server
    training = start_training(small, uri, 50_000)
    os.killpg(process.pid, how)
    while "tracking lost, training goes on" not in training.output()[1]:
        assert training.poll() is None
        time.sleep(0.05)
    training.terminate()
    _, errors = training.communicate(timeout=10)
    assert training.returncode == 130
    assert "Traceback" not in errors
    assert errors.count("tracking lost") == 1
    os.killpg(process.pid, signal.SIGCONT)


def test_a_server_that_comes_back_has_one_whole_run(small: Path, server: tuple[str, "subprocess.Popen[bytes]"]) -> None:
    """It hangs from the middle of the training to its end."""
    uri, process = server
    training = start_training(small, uri, 60)
    os.killpg(process.pid, signal.SIGSTOP)
    _, errors = training.communicate()
    assert training.returncode == 0, errors
    os.killpg(process.pid, signal.SIGCONT)
    for stage in ("render", "evaluate", "publish"):
        done = run_stage(stage, small, MLFLOW_TRACKING_URI=uri)
        assert done.returncode == 0, done.stderr
    (run,) = runs(uri)
    assert run.info.status == "FINISHED"
    client = MlflowClient(uri)
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss_g")]
    assert sorted(set(steps)) == list(range(1, 60 * 16 + 1))
    pictures = {file.path for file in client.list_artifacts(run.info.run_id, "images")}
    assert any("+960+" in path for path in pictures)


def test_a_server_that_takes_no_files_is_said_at_the_start(small: Path) -> None:
    """Each try is the same run, and once it works that run is completed."""
    root = small / "server"
    root.write_text("a file where a folder should be")
    with mlflow_process(
        *("server", "--workers", "1", "--backend-store-uri", f"sqlite:///{small}/server.db"),
        *("--artifacts-destination", str(root)),
        folder=small,
    ) as (uri, _):
        for _ in range(2):
            done = run_stage("train", small, MLFLOW_TRACKING_URI=uri)
            assert done.returncode == 1
            assert done.stderr.splitlines()[-1].startswith("error: MLflow takes no files: ")
        assert [run.info.status for run in runs(uri)] == ["FAILED"]
        root.unlink()
        make_result(small, MLFLOW_TRACKING_URI=uri)
        assert [run.info.status for run in runs(uri)] == ["FINISHED"]
