"""A team at one server: PostgreSQL, MLflow with basic authentication and proxied artifacts, two users, a browser."""

import base64
import io
import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from conftest import RESULT, make_checkout, make_small, mlflow_process, run_python, run_stage, set_params, start
from forked import Program
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import WebDriverWait
from server import Server, database, programs, used_by_admin

from mnist_gan.tracking.address import Address
from mnist_gan.tracking.glance import is_published


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server, and two users who have an account of their own."""
    with used_by_admin(tmp_path_factory.mktemp("team")) as server:
        for name in ("ada", "ben"):
            account = {"username": name, "password": f"{name}-has-a-secret"}
            made = requests.post(
                f"{server.uri}/api/2.0/mlflow/users/create",
                json=account,
                auth=(server.username, server.password),
                timeout=30,
            )
            assert made.ok, made.text
        yield server


def as_user(team: Server, name: str) -> dict[str, str]:
    """The environment of a user, who has the password in the address."""
    return {"MLFLOW_TRACKING_URI": team.uri.replace("//", f"//{name}:{name}-has-a-secret@") + "/"}


@pytest.fixture(scope="module")
def checkouts(team: Server, small_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each user's checkout, after a first result; both started at once, on a server that nobody had used."""
    folders, processes = {}, []
    for seed, name in enumerate(("ada", "ben")):
        folder = folders[name] = tmp_path_factory.mktemp(name)
        make_checkout(folder)
        make_small(small_inputs, folder)
        set_params(folder, train__seed=seed)
        with pytest.MonkeyPatch.context() as patch:
            for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):  # the admin's
                patch.delenv(variable)
            processes.append(start("-c", RESULT, folder=folder, **as_user(team, name)))
    for process in processes:
        said = process.communicate()
        assert process.returncode == 0, said
        assert all("secret" not in words for words in said)
    return folders


def published(team: Server) -> list[Run]:
    client = MlflowClient(team.uri)
    experiment = client.get_experiment_by_name("mnist-gan")
    return list(client.search_runs([experiment.experiment_id], order_by=["params.`train.seed`"])) if experiment else []


def test_two_first_starts_at_once_are_two_whole_runs(team: Server, checkouts: dict[str, Path]) -> None:
    found = published(team)
    assert [run.data.params["train.seed"] for run in found] == ["0", "1"]
    assert {run.info.status for run in found} == {"FINISHED"}
    client = MlflowClient(team.uri)
    for run in found:
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        assert Path(client.download_artifacts(run.info.run_id, "plots/samples.png")).stat().st_size > 1000
        assert "secret" not in json.dumps([run.data.tags, run.data.params])


def test_compare_and_promote_work_and_say_no_secret(team: Server, checkouts: dict[str, Path]) -> None:
    folder = checkouts["ada"]
    for command in ("compare", "promote"):
        done = run_stage(command, folder, **as_user(team, "ada"))
        assert done.returncode == 0, done.stderr
        assert "secret" not in done.stdout + done.stderr
    page = (folder / "reports/compare.html").read_text()
    assert "secret" not in page
    assert f'href="{team.uri}/#/experiments/' in page


def test_what_is_published_is_seen_by_one_request_with_an_account(team: Server, checkouts: dict[str, Path]) -> None:
    run = published(team)[0]
    for user, tag, knows in (("ada", "published", True), ("ada", "ruler", False), ("nobody", "published", False)):
        store = Address.of(as_user(team, user)["MLFLOW_TRACKING_URI"], Path())
        assert is_published(store, run.info.run_id, run.data.tags[tag]) == knows


def test_a_wrong_password_is_one_line_without_it(team: Server, checkouts: dict[str, Path]) -> None:
    uri = team.uri.replace("//", "//ada:wrong-secret@")
    done = run_stage("publish", checkouts["ada"], MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: MLflow at {team.uri} cannot be used: ")
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_champion_is_served_from_the_server(team: Server, checkouts: dict[str, Path]) -> None:
    assert run_stage("promote", checkouts["ben"], **as_user(team, "ben")).returncode == 0
    command = ("models", "serve", "--model-uri", "models:/mnist-gan@champion", "--env-manager", "local")
    with mlflow_process(*command, folder=checkouts["ben"], **team.environment) as (uri, _):
        content = json.dumps({"dataframe_records": [{"seed": 7}]}).encode()
        request = urllib.request.Request(f"{uri}/invocations", content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            png = base64.b64decode(json.load(response)["predictions"][0]["png"])
    assert np.asarray(Image.open(io.BytesIO(png))).shape == (16, 16)


def test_the_browser_asks_who_one_is_and_shows_the_runs(
    team: Server, checkouts: dict[str, Path], browser: Chrome
) -> None:
    (first, _) = published(team)
    address = f"{team.uri}/#/experiments/{first.info.experiment_id}/runs"
    # A page whose own address holds a password may ask for nothing: the browser learns it here.
    browser.get(f"{as_user(team, 'ben')['MLFLOW_TRACKING_URI']}version")
    browser.get(address)
    WebDriverWait(browser, 60).until(
        lambda it: it.execute_script("return document.body.innerText").count("gan 2 epochs")
    )


def test_two_first_starts_at_once_in_a_database(small_inputs: Path, tmp_path: Path) -> None:
    """Without a server before it: MLflow makes its tables in each process."""
    if programs() is None:
        pytest.skip("a team's server (apt-get install postgresql)")
    with database(tmp_path / "postgres") as store:
        processes = []
        for seed in (0, 1):
            folder = tmp_path / str(seed)
            folder.mkdir()
            make_checkout(folder)
            make_small(small_inputs, folder)
            set_params(folder, train__seed=seed)
            processes.append(start(folder=folder, MLFLOW_TRACKING_URI=store.uri, PGPASSWORD=store.password))
        for process in processes:
            _, errors = process.communicate()
            assert process.returncode == 0, errors
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PGPASSWORD", store.password)
            found = MlflowClient(store.uri).search_runs(["1"])
            assert sorted(run.data.params["train.seed"] for run in found) == ["0", "1"]


@pytest.mark.slow
def test_two_workers_at_one_queue_lose_and_double_nothing(team: Server, small_inputs: Path, tmp_path: Path) -> None:
    """Twenty results by two processes at once, each going through all of them."""
    for name in ("ada", "ben"):
        (tmp_path / name).mkdir()
        make_checkout(tmp_path / name)
        make_small(small_inputs, tmp_path / name)
    shutil.rmtree(tmp_path / "ben/data")
    (tmp_path / "ben/data").symlink_to(tmp_path / "ada/data")
    before = {run.info.run_id for run in published(team)}

    def work(name: str, seeds: range) -> None:
        for seed in seeds:
            set_params(tmp_path / name, train__seed=seed, variants__gan__epochs=1)
            environment = {"DVC_ROOT": str(tmp_path), "OMP_NUM_THREADS": "1"} | as_user(team, name)
            done = run_python("-c", RESULT, folder=tmp_path / name, **environment)
            assert done.returncode == 0, done.stderr

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(work, name, seeds) for name, seeds in (("ada", range(100, 110)), ("ben", range(110, 120)))]
        for one in done:
            one.result()
    new = [run for run in published(team) if run.info.run_id not in before]
    assert sorted(int(run.data.params["train.seed"]) for run in new) == list(range(100, 120))
    assert {run.info.status for run in new} == {"FINISHED"}


@pytest.mark.slow
def test_twenty_results_at_once_are_twenty_whole_runs(team: Server, small_inputs: Path, tmp_path: Path) -> None:
    """Twenty trainings that are followed live, and twenty ``publish`` after them, all at one time."""
    seeds = range(200, 220)
    for process in [begin_result(tmp_path, small_inputs, seed, 1, **as_user(team, "ada")) for seed in seeds]:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert_whole(team, tmp_path, seeds, steps=16)
    for run in published(team):
        if int(run.data.params["train.seed"]) in seeds:
            assert steps_of(team, run) == list(range(1, 17))  # none twice


@pytest.mark.slow
def test_results_outlive_a_server_and_a_database_that_are_killed(small_inputs: Path, tmp_path: Path) -> None:
    """Both once, while four trainings are followed."""
    seeds, epochs = range(4), 300
    with used_by_admin(tmp_path / "team") as server:
        trainings = [begin_result(tmp_path, small_inputs, seed, epochs, **server.environment) for seed in seeds]
        while len(list(tmp_path.glob("*/.unfinished/*/state.safetensors"))) < len(seeds):
            assert all(training.poll() is None for training in trainings)
            time.sleep(0.1)
        for kill in (server.database.restart, server.restart):
            time.sleep(2)
            kill()
        assert all(training.poll() is None for training in trainings)
        for training in trainings:
            _, errors = training.communicate()
            assert training.returncode == 0, errors
        assert_whole(server, tmp_path, seeds, epochs * 16)


def begin_result(where: Path, small_inputs: Path, seed: int, epochs: int, **environment: str) -> Program:
    """The process of a result of ``seed``, in a checkout of its own."""
    folder = where / str(seed)
    folder.mkdir()
    make_checkout(folder)
    make_small(small_inputs, folder)
    set_params(folder, train__seed=seed, train__checkpoints=1, variants__gan__epochs=epochs)
    return start("-c", RESULT, folder=folder, OMP_NUM_THREADS="1", **environment)


def assert_whole(server: Server, where: Path, seeds: range, steps: int) -> None:
    """Each of the results of ``begin_result`` is one finished run with all that its files say."""
    client = MlflowClient(server.uri)
    new = [run for run in published(server) if int(run.data.params["train.seed"]) in seeds]
    assert sorted(int(run.data.params["train.seed"]) for run in new) == list(seeds)
    for run in new:
        assert run.info.status == "FINISHED"
        # A batch that was sent again may double a point; whoever reads a curve drops it.
        assert set(steps_of(server, run)) == set(range(1, steps + 1))
        measures = json.loads((where / run.data.params["train.seed"] / "metrics/evaluate.json").read_text())
        assert run.data.metrics["judge/frechet_distance"] == measures["judge"]["frechet_distance"]
        files = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "plots")}
        assert {"classes.png", "samples.png"} <= files


def steps_of(server: Server, run: Run) -> list[int]:
    """Of the points of a curve, as often as the server has them."""
    history = MlflowClient(server.uri).get_metric_history(run.info.run_id, "train/loss_g")
    return sorted(point.step for point in history)
