"""Champions: crowned only on evidence, and served by MLflow's own scoring server."""

import base64
import io
import json
import signal
import sqlite3
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import copy_store, mlflow_process, run_python, uri_of
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from mnist_gan.data.images import to_uint8
from mnist_gan.training import generators


@pytest.fixture
def store(published: Path, tmp_path: Path) -> Path:
    """A folder with a database of its own, whose runs are the four of ``published``."""
    copy_store(published, tmp_path)
    return tmp_path


def promote(folder: Path, *arguments: str) -> list[str]:
    done = run_python("-m", "mnist_gan", "promote", *arguments, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(uri_of(folder))


def run_of(folder: Path, variant: str, seed: int) -> Run:
    where = f"params.`train.variant` = '{variant}' AND params.`train.seed` = '{seed}'"
    (run,) = client_of(folder).search_runs(["1"], where)
    return run


def set_distance(folder: Path, run: Run, value: float, half: float) -> None:
    """Give ``run`` another Fréchet distance in both spaces, with its interval, and no broken guard."""
    path = folder / f"mlruns/{run.info.run_id}/artifacts/metrics/evaluate.json"
    quality = json.loads(path.read_text())
    guards = {"copies": 0.01, "nearest_in_training": 0.5, "coverage": 0.8}
    for space in ("judge", "autoencoder"):
        for name, of in {"frechet_distance": value, **guards}.items():
            quality[space][name] = of
            quality["interval"][space][name] = {"low": of, "high": of}
        quality["interval"][space]["frechet_distance"] = {"low": value - half, "high": value + half}
        group = f"{space}_coverage"
        quality[group] = dict.fromkeys(quality[group], 0.8)
        quality["interval"][group] = {digit: {"low": 0.8, "high": 0.8} for digit in quality[group]}
    quality["classes"] = dict.fromkeys(quality["classes"], 0.1)
    path.write_text(json.dumps(quality))


def champion(folder: Path) -> str | None:
    version = client_of(folder).get_model_version_by_alias("mnist-gan", "champion")
    return version.run_id


def test_a_champion_is_crowned_only_on_evidence(store: Path) -> None:
    gan, dcgan = run_of(store, "gan", 0), run_of(store, "dcgan", 0)
    set_distance(store, gan, 50, 1)
    said = promote(store, "--run", gan.info.run_id)
    assert said[0].startswith("version 1 of mnist-gan: gan 2 epochs seed 0, generator ")
    assert said[1] == "is champion: there was none before"
    assert champion(store) == gan.info.run_id

    for value, reason in (
        (51.0, "the intervals overlap, so that the evidence is not enough"),
        (49.0, "the intervals overlap, so that the evidence is not enough"),
        (60.0, "it is worse"),
    ):
        set_distance(store, dcgan, value, 1)
        said = promote(store, "--run", dcgan.info.run_id)
        assert said[1].startswith(f"the champion stays: Fréchet distance {value:.1f} ({value - 1:.1f} to ")
        assert said[1].endswith(reason)
        assert champion(store) == gan.info.run_id

    set_distance(store, dcgan, 40, 1)
    said = promote(store, "--run", dcgan.info.run_id)
    assert said[0].startswith("version 2 of mnist-gan: dcgan")
    assert said[1].startswith(
        "is champion: Fréchet distance 40.0 (39.0 to 41.0) against 50.0 (49.0 to 51.0) by the judges; 40.0 (39.0 "
    )
    assert champion(store) == dcgan.info.run_id
    assert len(client_of(store).search_model_versions("name = 'mnist-gan'")) == 2

    said = promote(store, "--run", dcgan.info.run_id)
    assert said[1].startswith("the champion stays: it is the champion already")


def test_validation_chooses_and_test_images_decide(store: Path) -> None:
    runs = [run_of(store, variant, seed) for variant in ("gan", "dcgan") for seed in (0, 1)]
    best, *others = sorted(runs, key=lambda run: run.data.metrics["validation/frechet_distance"])
    set_distance(store, others[0], 0.1, 0.01)
    promote(store)
    assert champion(store) == best.info.run_id


def test_other_rulers_do_not_compare(store: Path) -> None:
    gan, dcgan = run_of(store, "gan", 0), run_of(store, "dcgan", 0)
    promote(store, "--run", gan.info.run_id)
    client_of(store).set_tag(dcgan.info.run_id, "ruler", "another")
    said = promote(store, "--run", dcgan.info.run_id)
    assert "was measured differently" in said[1]
    assert champion(store) == gan.info.run_id


def test_a_failing_registry_is_one_line(store: Path) -> None:
    with sqlite3.connect(store / "mlflow.db") as database:
        database.execute("DROP TABLE registered_model_aliases")
    done = run_python("-m", "mnist_gan", "promote", folder=store)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: MLflow fails: (sqlite3.OperationalError) no such table: ")
    assert done.stderr.count("\n") == 1


def test_without_a_run_there_is_nothing_to_promote(workspace: Path) -> None:
    done = run_python("-m", "mnist_gan", "promote", folder=workspace)
    assert done.returncode == 1
    assert done.stderr == "error: no published run to promote: `dvc repro` makes one\n"


def test_a_served_champion_answers_seeds_and_latents(store: Path, published: Path) -> None:
    dcgan = run_of(store, "dcgan", 1)
    promote(store, "--run", dcgan.info.run_id)
    path = client_of(store).download_artifacts(dcgan.info.run_id, "generator.safetensors", str(store))
    final = generators.read(Path(path))
    latent_dim = final.origin.latent_dim
    latents = torch.randn(3, latent_dim, generator=torch.Generator().manual_seed(5))
    latents[0] = torch.randn(latent_dim, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        expected = to_uint8(final.generator(latents))

    with mlflow_process(
        *("models", "serve", "--model-uri", "models:/mnist-gan@champion", "--env-manager", "local"),
        folder=store, MLFLOW_TRACKING_URI=run_python("-m", "mnist_gan", "address", folder=store).stdout.strip(),
    ) as (uri, server):  # fmt: skip

        def ask(**rows: Any) -> tuple[int, Any]:
            content = json.dumps({"dataframe_records": [{key: value} for key, of in rows.items() for value in of]})
            request = urllib.request.Request(
                f"{uri}/invocations", content.encode(), {"Content-Type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request) as response:
                    return response.status, json.load(response)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)

        def pictures(**rows: Any) -> np.ndarray:
            status, answer = ask(**rows)
            assert status == 200
            pngs = (base64.b64decode(row["png"]) for row in answer["predictions"])
            return np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in pngs])

        of_latents, of_seeds = pictures(latents=latents.tolist()), pictures(seed=[7, 8, 7])
        np.testing.assert_allclose(of_latents.astype(int), expected[:, 0].numpy().astype(int), atol=1)
        assert np.abs(of_seeds[0].astype(int) - of_latents[0]).max() <= 1
        assert (of_seeds[0] == of_seeds[2]).all()
        assert (of_seeds[0] != of_seeds[1]).any()
        for rows, message in (
            ({"latents": [[0.0, 1.0]]}, "row 1: latents are 100 finite numbers"),
            ({"latents": [latents[0].tolist(), [1e300] * 100]}, "row 2: latents are 100 finite numbers"),
            ({"latents": [None]}, ""),
            ({"other": [1]}, "give it rows with a seed, or latents"),
            ({"seed": [-1]}, "row 1: a seed is a whole number from 0"),
            ({"seed": [2**70]}, ""),
            ({"digit": [3]}, "row 1: give it a seed, or latents"),
            ({"seed": [3], "latents": [latents[0].tolist()]}, ""),
        ):
            status, answer = ask(**rows)
            assert status == 400
            assert message in answer["message"]

        status, answer = ask(seed=list(range(10_000)))
        assert (status, "10000 rows: 1000 are the most of a request" in answer["message"]) == (400, True)
        whole = pictures(seed=list(range(100)))
        with ThreadPoolExecutor(50) as pool:
            parts = list(pool.map(lambda first: pictures(seed=[first, first + 50]), range(50)))
        for first, part in enumerate(parts):
            assert np.abs(part.astype(int) - whole[[first, first + 50]]).max() <= 1
        with urllib.request.urlopen(f"{uri}/health") as response:
            assert response.status == 200

        with ThreadPoolExecutor(1) as pool:  # a stop in the middle of a request
            asked = pool.submit(ask, seed=list(range(1000)))
            time.sleep(0.2)
            server.send_signal(signal.SIGTERM)
            server.wait(30)
            with suppress(OSError):  # it is told that no answer comes
                assert asked.result()[0] == 200
