"""MLflow's registry: a model of many versions, one a generator, and the alias of the best."""

import tempfile
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema

import mnist_gan
from mnist_gan.files import write_atomically
from mnist_gan.tracking.run import CONTENT_TAG, TrackedRun, requirements
from mnist_gan.tracking.store import Store
from mnist_gan.training import generators

MODEL = "mnist-gan"
CHAMPION = "champion"
NO_ALIAS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers where there is no such model, and where the model has no such alias."""
SIGNATURE = ModelSignature(
    Schema(
        [
            ColSpec(DataType.long, "seed", required=False),
            ColSpec(Array(DataType.double), "latents", required=False),
            ColSpec(DataType.long, "digit", required=False),
        ]
    ),
    Schema([ColSpec(DataType.string, "png")]),
)


def champion(store: Store) -> TrackedRun | None:
    """The run whose generator has the alias, if any has it that still exists."""
    if not store.client.search_registered_models(f"name = '{MODEL}'"):
        return None  # of one that is not there, a server with accounts says that it is forbidden
    try:
        version = store.client.get_model_version_by_alias(MODEL, CHAMPION)
    except MlflowException as error:
        if error.error_code in NO_ALIAS:
            return None
        raise
    return store.run(str(version.run_id))


def crown(store: Store, version: ModelVersion) -> None:
    """Give the alias to ``version``."""
    store.client.set_registered_model_alias(MODEL, CHAMPION, version.version)


def register(store: Store, run: TrackedRun) -> ModelVersion:
    """The version of the run's final generator, registered unless it is."""
    client = store.client
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(
            MODEL,
            description="Generators of MNIST's digits. A row with a seed or latents in, and a digit if the generator "
            "takes one; a PNG in base64 out.",
        )
    for version in client.search_model_versions(f"name = '{MODEL}'"):
        if version.tags.get(CONTENT_TAG) == run.content_hash:
            return version
    model_id = _log_served(run)
    return client.create_model_version(
        MODEL,
        source=f"models:/{model_id}",
        run_id=run.id,
        model_id=model_id,
        tags={CONTENT_TAG: run.content_hash},
        description=run.tags["mlflow.note.content"],
    )


def _log_served(run: TrackedRun) -> str:
    """The id of the LoggedModel that serves the run's final generator."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, generators.FINAL.name)
        write_atomically(path, run.artifact(generators.FINAL.name))
        final = generators.read(path)

        def save(target: Path, model: Model) -> None:
            mlflow.pyfunc.save_model(
                target,
                mlflow_model=model,
                python_model=str(Path(__file__).with_name("serving.py")),
                artifacts={"generator": str(path)},
                code_paths=[*mnist_gan.__path__],
                signature=SIGNATURE,
                input_example=pd.DataFrame({"seed": [0]}),
                pip_requirements=requirements(
                    *("filelock", "joblib", "mlflow", "numpy", "pandas", "pillow", "pydantic"),
                    *("ruamel.yaml", "safetensors", "torch"),
                ),
            )

        return run.log_model(f"{final.origin.variant}-served", final, save)
