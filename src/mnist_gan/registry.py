"""MLflow's registry: a model of many versions, one a generator, and the alias of the best."""

import tempfile
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema

from mnist_gan import result, runs
from mnist_gan.errors import UserError
from mnist_gan.files import write_atomically
from mnist_gan.tracking import CONTENT_TAG, Store, log_model, requirements

MODEL = "mnist-gan"
CHAMPION = "champion"
NO_ALIAS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers where there is no such model, and where the model has no such alias."""
SIGNATURE = ModelSignature(
    Schema(
        [
            ColSpec(DataType.long, "seed", required=False),
            ColSpec(Array(DataType.double), "latents", required=False),
        ]
    ),
    Schema([ColSpec(DataType.string, "png")]),
)


def champion(store: Store) -> Run | None:
    """The run whose generator has the alias, if any has it.

    Raises:
        UserError: the champion's run is gone.
    """
    try:
        version = store.client.get_model_version_by_alias(MODEL, CHAMPION)
    except MlflowException as error:
        if error.error_code in NO_ALIAS:
            return None
        raise
    try:
        return store.client.get_run(str(version.run_id))
    except MlflowException:
        raise UserError(
            f"run {version.run_id} of the champion is gone: remove the alias {CHAMPION} in MLflow"
        ) from None


def crown(store: Store, version: ModelVersion) -> None:
    """Give the alias to ``version``."""
    store.client.set_registered_model_alias(MODEL, CHAMPION, version.version)


def register(store: Store, run: Run) -> ModelVersion:
    """The version of the run's final generator, registered unless it is."""
    if not store.client.search_registered_models(f"name = '{MODEL}'"):
        store.client.create_registered_model(
            MODEL, description="Generators of MNIST's digits. A row with a seed or latents in, a PNG in base64 out."
        )
    content_hash = runs.content_hash(run)
    for version in store.client.search_model_versions(f"name = '{MODEL}'"):
        if version.tags.get(CONTENT_TAG) == content_hash:
            return version
    model_id = _log_served(store, run)
    return store.client.create_model_version(
        MODEL,
        source=f"models:/{model_id}",
        run_id=run.info.run_id,
        model_id=model_id,
        tags={CONTENT_TAG: content_hash},
        description=run.data.tags["mlflow.note.content"],
    )


def _log_served(store: Store, run: Run) -> str:
    """The id of the LoggedModel that serves the run's final generator."""
    with tempfile.TemporaryDirectory() as folder:
        generator = Path(folder, result.FINAL.name)
        write_atomically(generator, runs.artifact(store, run, result.FINAL.name))
        _, origin = result.read_generator(generator)

        def save(path: Path, model: Model) -> None:
            package = Path(__file__).parent
            mlflow.pyfunc.save_model(
                path,
                mlflow_model=model,
                python_model=str(package / "serving.py"),
                artifacts={"generator": str(generator)},
                code_paths=[str(package)],
                signature=SIGNATURE,
                input_example=pd.DataFrame({"seed": [0]}),
                pip_requirements=requirements(
                    *("mlflow", "numpy", "pandas", "pillow", "pydantic", "pyyaml"),
                    *("safetensors", "torch", "torchvision"),
                ),
            )

        return log_model(store, run.info.run_id, f"{origin.variant}-served", origin.epoch, origin.step, save)
