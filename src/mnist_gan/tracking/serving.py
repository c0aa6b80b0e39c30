"""A generator as MLflow serves it: a row with a seed or a latent vector in, a picture out.

MLflow runs this file wherever the model is loaded, beside the copy of this package that the model carries.
"""

import base64
from pathlib import Path
from typing import Any

import mlflow.models
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from mnist_gan.data import images
from mnist_gan.training import generators


class Artist(PythonModel):
    """Draws with the generator in the model's artifact ``generator``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the generator."""
        self.final = generators.read(Path(context.artifacts["generator"]))
        self.latent_dim = self.final.origin.latent_dim

    @torch.inference_mode()
    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """A column ``png``, the picture of each row as base64 of the PNG format.

        Args:
            context: MLflow's; not used.
            model_input: rows with ``seed``, for the latent vector that torch draws with it, or with ``latents``.
            params: MLflow's; not used.

        Raises:
            MlflowException: there is neither, or a latent vector of another length.
        """
        columns = model_input.columns
        if "seed" in columns:
            latents = torch.stack([self.seeded(int(seed)) for seed in model_input["seed"]])
        elif "latents" in columns:
            latents = self.given(model_input["latents"].tolist())
        else:
            raise MlflowException.invalid_parameter_value("give each row a seed, or latents")
        drawn = images.to_uint8(self.final.generator(latents))
        pngs = [images.png(to_pil_image(image)) for image in drawn]
        return pd.DataFrame({"png": [base64.b64encode(png).decode() for png in pngs]})

    def seeded(self, seed: int) -> Tensor:
        """Standard normal ``[latent_dim]``."""
        return torch.randn(self.latent_dim, generator=torch.Generator().manual_seed(seed))

    def given(self, rows: list[Any]) -> Tensor:
        """Float32 ``[N, latent_dim]``, if each row has that length."""
        if any(len(row) != self.latent_dim for row in rows):
            raise MlflowException.invalid_parameter_value(f"latents are {self.latent_dim} numbers")
        return torch.tensor(rows, dtype=torch.float32)


mlflow.models.set_model(Artist())
