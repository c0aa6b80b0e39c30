"""Runs in real stores: SQLite, and a real MLflow server on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import RESULT, ROOT, imported, run_python, run_stage, set_params, uri_of
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_gan.files import sha256
from mnist_gan.quality.panel import HEADLINES
from mnist_gan.tracking.address import without_secrets
from mnist_gan.training import generators

RECORD = ("loss_g", "loss_d", "d_real", "d_fake")
GROUPS = ("judge", "autoencoder", "told_apart", "best")
STEPS = 32  # two epochs of 1,024 images in batches of 64


def run_all(folder: Path, **environment: str) -> None:
    done = run_python("-c", RESULT, folder=folder, **environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def runs_in(uri: str) -> tuple[MlflowClient, list[Run]]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("mnist-gan")
    assert experiment
    return client, client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


def check_whole(client: MlflowClient, run: Run, folder: Path) -> None:
    """Everything that the issue of a run's completeness lists, against the result's own files."""
    assert run.info.status == "FINISHED"
    params, tags = run.data.params, run.data.tags
    assert params["train.variant"] == "gan"
    assert params["train.epochs"] == "2"
    assert len([key for key in params if key.startswith("train.")]) == 15
    assert tags["generator.sha256"] == sha256((folder / generators.FINAL).read_bytes())
    assert tags["variant"] == "gan"
    assert {"seed", "device", "threads", "precision", "torch", "published"} <= tags.keys()

    losses = safetensors.torch.load_file(folder / generators.FOLDER / "training.safetensors")["losses"]
    for column, name in enumerate(RECORD):
        history = client.get_metric_history(run.info.run_id, f"train/{name}")
        assert [metric.step for metric in history] == list(range(1, STEPS + 1))
        assert np.allclose([metric.value for metric in history], losses[:, column])
    epochs = client.get_metric_history(run.info.run_id, "epoch")
    assert [metric.value for metric in epochs] == [step / 16 for step in range(1, STEPS + 1)]

    quality = json.loads((folder / "metrics/evaluate.json").read_text())
    assert run.data.metrics["judge/frechet_distance"] == pytest.approx(quality["judge"]["frechet_distance"])
    assert run.data.metrics["autoencoder/coverage"] == pytest.approx(quality["autoencoder"]["coverage"])
    assert {key for key in run.data.metrics if key.split("/")[0] in GROUPS} == {*HEADLINES, "best/epoch"}
    assert run.data.tags["ruler"] == quality["ruler"]
    kept = Path(client.download_artifacts(run.info.run_id, "metrics/evaluate.json"))
    assert json.loads(kept.read_text()) == quality

    assert run.inputs
    (data_input,) = run.inputs.dataset_inputs
    assert data_input.dataset.name == "mnist-train"
    assert generators.read(folder / generators.FINAL).origin.data_sha256.startswith(data_input.dataset.digest)

    images = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "images")}
    sampled = {int(name.split("+")[2]) for name in images if name.startswith("samples+") and name.endswith(".png")}
    assert sampled == {0, 4, 8, 12, 16, 20, 24, 28, 32}
    assert len([name for name in images if name.startswith("final+step+0+") and name.endswith(".png")]) == 1
    plots = {file.path for file in client.list_artifacts(run.info.run_id, "plots")}
    assert {"plots/samples.png", "plots/progression.png", "plots/interpolation.png"} <= plots

    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    assert sorted(model.name for model in models) == ["gan-epoch-0001", "gan-epoch-0002"]
    for model in models:
        assert model.metrics
        assert "validation/frechet_distance" in {metric.key for metric in model.metrics}
        assert {metric.step for metric in model.metrics} == {16 * int(model.params["epoch"])}


def test_a_run_is_whole_live_and_recreated(small: Path) -> None:
    run_all(small)
    uri = uri_of(small)
    client, (run,) = runs_in(uri)
    check_whole(client, run, small)
    assert "recreated" not in run.data.tags
    done = run_stage("publish", small)
    assert "gan 2 epochs seed 0 (up to date)" in done.stdout
    assert "another environment" not in done.stdout
    assert client.get_run(run.info.run_id).info.end_time == run.info.end_time
    threads = torch.get_num_threads()
    other = 2 if threads == 1 else 1
    done = run_stage("publish", small, OMP_NUM_THREADS=str(other))
    assert done.stdout.startswith(
        f"made in another environment (threads {threads}, here {other}); `dvc repro -f -s train && dvc repro`"
    )

    # A later stage made something else: it is added, and what did not change is not logged twice.
    with (small / "plots/samples.png").open("ab") as picture:
        picture.write(b"other")
    assert "(completed)" in run_stage("publish", small).stdout
    check_whole(client, run, small)
    for name, points in (("validation/frechet_distance", 2), ("judge/frechet_distance", 1)):
        assert len(client.get_metric_history(run.info.run_id, name)) == points

    # The same result in an empty store, as after a restore from dvc's cache.
    new = f"sqlite:///{small}/new.db"
    for state in ("recreated", "up to date"):
        done = run_stage("publish", small, MLFLOW_TRACKING_URI=new)
        assert done.returncode == 0, done.stderr
        assert f"gan 2 epochs seed 0 ({state})" in done.stdout
        assert done.stderr == ""
    client, (run,) = runs_in(new)
    check_whole(client, run, small)
    assert run.data.tags["recreated"] == "true"


def test_checkpoints_open_as_models(small: Path) -> None:
    run_all(small)
    uri = uri_of(small)
    client, (run,) = runs_in(uri)
    mlflow.set_tracking_uri(uri)
    (model,) = client.search_logged_models([run.info.experiment_id], "name = 'gan-epoch-0002'")
    latents = np.random.default_rng(0).standard_normal((7, 100), np.float32)
    served = mlflow.pyfunc.load_model(model.model_uri)
    images = served.predict(latents)
    assert images.shape == (7, 1, 16, 16)
    assert served.metadata.signature.inputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 100)
    assert served.metadata.signature.outputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 1, 16, 16)
    generator = generators.read().generator
    expected = generator(torch.from_numpy(latents)).detach().numpy()
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-5)
    module = mlflow.pytorch.load_model(model.model_uri)
    np.testing.assert_allclose(
        module(torch.from_numpy(latents[:3])).detach().numpy(), expected[:3], rtol=1e-4, atol=1e-5
    )


def test_a_checkpoint_opens_without_this_package(small: Path) -> None:
    """It is an exported program: nothing is unpickled, and nothing of this package is imported."""
    run_all(small)
    (model,) = MlflowClient(uri_of(small)).search_logged_models(["1"], "name = 'gan-epoch-0002'")
    program = f"""
import sys, mlflow.pytorch, torch
def refuse(event, _):
    if event == "pickle.find_class": raise AssertionError("a pickle")
sys.addaudithook(refuse)
module = mlflow.pytorch.load_model({str(model.artifact_location)!r})
print(tuple(module(torch.randn(3, 100)).shape), "mnist_gan" in sys.modules)
"""
    done = run_python("-c", program, folder=small.parent, PYTHONPATH="")
    assert done.stdout == "(3, 1, 16, 16) False\n", done.stderr
    assert not [path for path in Path(model.artifact_location).rglob("*") if path.suffix in (".pkl", ".pickle", ".pth")]


def test_the_example_of_the_docs_opens_a_checkpoint(small: Path) -> None:
    run_all(small)
    example = (ROOT / "docs/tracking.md").read_text().partition("```python\n")[2].partition("```")[0]
    example = example.replace("cr3gan-epoch-0004", "gan-epoch-0002") + "print(images.shape)"
    assert run_python("-c", example, folder=small).stdout == "(7, 1, 16, 16)\n"


def test_a_result_made_again_is_tagged_as_reproduction(small: Path) -> None:
    for _ in range(2):
        run_all(small)
    client, (first, second) = runs_in(uri_of(small))
    assert first.data.tags["generator.sha256"] == second.data.tags["generator.sha256"]
    assert second.data.tags["reproduces"] == first.info.run_id
    assert "reproduces" not in first.data.tags
    for run in (first, second):
        check_whole(client, run, small)


def test_a_finished_training_goes_on_to_more_epochs(small: Path) -> None:
    set_params(small, variants__gan__epochs=3)
    run_all(small)
    whole = generators.read().generator

    set_params(small, variants__gan__epochs=2)
    run_all(small)
    start_here("two-epochs")
    set_params(small, variants__gan__epochs=3, train__init_from="two-epochs")
    run_all(small)
    continued = generators.read().generator
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, continued.state_dict()[name])
    assert len(generators.read_training()["losses"]) == 48
    client, (*_, run) = runs_in(uri_of(small))
    assert run.data.tags["init_from"] == "two-epochs"
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss_g")] == [*range(1, 49)]


def start_here(name: str) -> None:
    """Keep the end of the present training under ``name``, for others to go on from."""
    Path("models/starts").mkdir(exist_ok=True)
    shutil.copy(generators.TRAINING, f"models/starts/{name}")


def test_a_start_that_does_not_fit_is_refused(small: Path) -> None:
    run_all(small)
    start_here("here")
    start_here("damaged")
    with Path("models/starts/damaged").open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    before = generators.content_hash()
    for params, message in (
        ({"train__init_from": "gone"}, "models/starts/gone not found; `cp models/generator/training.safetensors"),
        ({"train__init_from": "here"}, "here ended after epoch 2; raise epochs"),
        (
            {"train__init_from": "here", "variants__gan__epochs": 1},
            "here ended after epoch 2; raise epochs",
        ),
        ({"train__init_from": "here", "train__variant": "dcgan"}, "here is a training with variant gan, here dcgan"),
        ({"train__init_from": "here", "variants__gan__batch_size": 128}, "with batch_size 64, here 128"),
        ({"train__init_from": "here", "train__latent_dim": 32}, "with latent_dim 100, here 32"),
        ({"train__init_from": "here", "prepare__channels": 3}, "with channels 1, here 3"),
        ({"train__init_from": "here", "prepare__img_size": 32}, "with img_size 16, here 32"),
        ({"train__init_from": "damaged"}, "models/starts/damaged is damaged"),
        ({"train__init_from": 123456789012}, "must be text; quote it: 123456789012 is no text to YAML"),
    ):
        shutil.copy(small / "params.yaml", small / "params.kept")
        set_params(small, **params)
        done = run_stage("check", small)
        shutil.copy(small / "params.kept", small / "params.yaml")
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert generators.content_hash() == before
    assert {run.info.status for run in runs_in(uri_of(small))[1]} <= {"FINISHED", "FAILED"}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:9", "[Errno 111] Connection refused"),
        ("http://no-such-host.invalid", "[Errno -"),
        ("sqlite:////proc/runs.db", ""),
        ("gopher://x", ""),
        ("http://[::1", ""),
    ],
)
def test_a_store_that_cannot_be_reached_is_said_before_training(small: Path, uri: str, said: str) -> None:
    done = run_stage("train", small, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: MLflow at {uri} cannot be used: {said}")
    assert done.stderr.count("\n") == 1
    assert not (small / "models/generator").exists()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:9", "[Errno 111] Connection refused"),
        ("http://me:secret@no-such-host.invalid", "[Errno -"),
        ("postgresql+psycopg2://me:secret@127.0.0.1:9/mlflow", "(psycopg2.OperationalError) connection to server"),
        ("http://[::1", ""),
    ],
)
def test_a_server_that_cannot_be_reached_is_said_before_anything_runs(workspace: Path, uri: str, said: str) -> None:
    done = run_stage("check", workspace, MLFLOW_TRACKING_URI=uri)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: MLflow at {without_secrets(uri)} cannot be used: {said}"), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_answers_is_not_in_the_way(
    workspace: Path, server: tuple[str, "subprocess.Popen[bytes]"]
) -> None:
    """Whatever it answers: one behind a prefix has no such page."""
    uri, _ = server
    for address in (uri, f"{uri}/prefix/"):
        done = run_stage("check", workspace, MLFLOW_TRACKING_URI=address)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_silent_server_is_given_up_in_time(small: Path) -> None:
    """The limit of ten seconds is the feature here; starting Python takes some of them."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = subprocess.run(
            [sys.executable, "-c", "from mnist_gan.tracking.store import connect; import time; t = time.monotonic()\n"
             "try: connect()\nexcept Exception as error: print(time.monotonic() - t, error)"],
            env=os.environ | {
                "PYTHONPATH": str(ROOT / "src"),
                "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{silent.getsockname()[1]}",
            },
            capture_output=True,
            text=True,
        )  # fmt: skip
    seconds, _, message = done.stdout.partition(" ")
    assert float(seconds) < 10
    assert "cannot be used" in message


def test_a_server_gets_the_whole_run(small: Path, server: tuple[str, "subprocess.Popen[bytes]"]) -> None:
    uri, _ = server
    (small / "mlflow.db").unlink()
    run_all(small, MLFLOW_TRACKING_URI=uri)
    client, (run,) = runs_in(uri)
    check_whole(client, run, small)
    assert not (small / "mlflow.db").exists()
    said, packages = imported("publish", small, MLFLOW_TRACKING_URI=uri)
    assert "(up to date)" in said
    assert not {"mlflow", "torch"} & packages
