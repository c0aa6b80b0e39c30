"""MLflow's registry: a model of many versions, one a generator, and the alias of the best."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema

import mnist_gan
from mnist_gan.errors import UserError
from mnist_gan.files import sha256, write_atomically
from mnist_gan.tracking.run import CONTENT_TAG, TrackedRun, requirements
from mnist_gan.tracking.store import Store
from mnist_gan.training import generators

CHAMPION = "champion"
NO_ALIAS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers where there is no such model, and where the model has no such alias."""


def model_of(data: str) -> str:
    """The registered model of a data set's generators: each set has its own champion."""
    return "mnist-gan" if data == "mnist" else f"mnist-gan-{data}"


def champion(store: Store, model: str) -> tuple[TrackedRun | None, str]:
    """The run whose generator has the alias and can be loaded, if there is one; and what was wrong, in a sentence.

    One that cannot be loaded is registered anew where its generator is at hand.
    """
    if not store.client.search_registered_models(f"name = '{model}'"):
        return None, ""  # of one that is not there, a server with accounts says that it is forbidden
    try:
        version = store.client.get_model_version_by_alias(model, CHAMPION)
    except MlflowException as error:
        if error.error_code in NO_ALIAS:
            return None, ""
        raise
    run = store.run(version.run_id) if version.run_id else None
    if run is None or version.tags.get(CONTENT_TAG) != run.tags.get(CONTENT_TAG, ""):
        return None, f"version {version.version}, which had the alias, is of no run here: it loses it"
    try:
        whole = register(store, run)
    except UserError:
        return None, f"the champion, {run.name}, is lost: neither its model nor its generator can be read"
    if whole.version == version.version:
        return run, ""
    crown(store, whole)
    return run, f"the champion could not be loaded: it is version {whole.version} now"


def crown(store: Store, version: ModelVersion) -> None:
    """Give the alias to ``version``."""
    store.client.set_registered_model_alias(version.name, CHAMPION, version.version)


def register_first(store: Store, ranked: Sequence[TrackedRun]) -> tuple[TrackedRun, ModelVersion]:
    """The first run whose generator can be read, and its version in the registry.

    Raises:
        UserError: none can be read.
    """
    for candidate in ranked[:-1]:
        try:
            return candidate, register(store, candidate)
        except UserError as error:
            print(f"passed over: {error}")
    return ranked[-1], register(store, ranked[-1])


def register(store: Store, run: TrackedRun) -> ModelVersion:
    """The version of the run's final generator, registered unless it is and can be loaded.

    Raises:
        UserError: the generator cannot be read.
    """
    client, model = store.client, model_of(run.data)
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(
            model,
            description=f"Generators of images like those of {run.data}. A row with a seed or latents in, and a class, "
            "of MNIST a digit, if the generator takes one; a PNG in base64 out.",
        )
    for version in client.search_model_versions(f"name = '{model}'", order_by=["version_number DESC"]):
        if version.tags.get(CONTENT_TAG) == run.content_hash and _loads(str(version.source), run.content_hash):
            return version
    model_id = _log_served(run)
    if not _loads(f"models:/{model_id}", run.content_hash):  # it was logged before, and has lost its files
        client.delete_logged_model(model_id)
        model_id = _log_served(run)
    return client.create_model_version(
        model,
        source=f"models:/{model_id}",
        run_id=run.id,
        model_id=model_id,
        tags={CONTENT_TAG: run.content_hash},
        description=run.tags["mlflow.note.content"],
    )


def signature(noun: str) -> ModelSignature:
    """What is served takes and gives."""
    wanted = DataType.long if noun == "digit" else DataType.string
    return ModelSignature(
        Schema(
            [
                ColSpec(DataType.long, "seed", required=False),
                ColSpec(Array(DataType.double), "latents", required=False),
                ColSpec(wanted, noun, required=False),
            ]
        ),
        Schema([ColSpec(DataType.string, "png")]),
    )


def _loads(source: str, content_hash: str) -> bool:
    """Whether the model at ``source`` has its description, and the generator with this SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = Path(download_artifacts(source, dst_path=folder))
            Model.load(model)
            return any(sha256(path.read_bytes()) == content_hash for path in model.rglob(generators.FINAL.name))
        except (OSError, MlflowException):
            return False


def _generator(run: TrackedRun) -> bytes:
    """The file of the run's final generator, from the run, or else from this checkout."""
    try:
        return run.artifact(generators.FINAL.name)
    except UserError:
        if generators.FINAL.exists() and generators.content_hash() == run.content_hash:
            return generators.FINAL.read_bytes()
        raise


def _log_served(run: TrackedRun) -> str:
    """The id of the LoggedModel that serves the run's final generator."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, generators.FINAL.name)
        write_atomically(path, _generator(run))
        final = generators.read(path)

        def save(target: Path, model: Model) -> None:
            mlflow.pyfunc.save_model(
                target,
                mlflow_model=model,
                python_model=str(Path(__file__).with_name("serving.py")),
                artifacts={"generator": str(path)},
                code_paths=[*mnist_gan.__path__],
                signature=signature(final.origin.classes.noun),
                input_example=pd.DataFrame({"seed": [0]}),
                pip_requirements=requirements(
                    *("filelock", "joblib", "mlflow", "numpy", "pandas", "pillow", "pydantic"),
                    *("ruamel.yaml", "safetensors", "torch"),
                ),
            )

        return run.log_model(f"{final.origin.variant}-served", final, save)
