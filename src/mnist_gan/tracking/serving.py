"""A generator as MLflow serves it: a row with a seed or a latent vector in, a picture out.

MLflow runs this file wherever the model is loaded, beside the copy of this package that the model carries.
"""

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.models
import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from torch import Tensor

from mnist_gan.data import images
from mnist_gan.training import generators
from mnist_gan.variants import Conditional

MOST = 1000
"""Images of a request, which is answered as a whole."""


class Artist(PythonModel):
    """Draws with the generator in the model's artifact ``generator``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the generator."""
        self.final = generators.read(Path(context.artifacts["generator"]))
        self.latent_dim = self.final.origin.latent_dim

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, str] | None = None
    ) -> pd.DataFrame:
        """A column ``png``, the picture of each row as base64 of the PNG format.

        Args:
            context: MLflow's; not used.
            model_input: rows with ``seed``, for the latent vector that torch draws with it, or with ``latents``; and
                with the ``class`` to draw, by its name, if the generator is conditional; of digits, the ``digit``.
            params: MLflow's; not used.

        Raises:
            MlflowException: a row has neither, or both, or its seed, latents or class are none; or there are too many.
        """
        if model_input.empty:  # MLflow drops the columns that the model's signature does not name
            raise MlflowException.invalid_parameter_value("give it rows with a seed, or latents")
        if len(model_input) > MOST:
            raise MlflowException.invalid_parameter_value(f"{len(model_input)} rows: {MOST} are the most of a request")
        rows = enumerate(model_input.to_dict("records"), start=1)
        drawn = images.generate(self.final.generator, torch.stack([self.latent(number, row) for number, row in rows]))
        pngs = [images.png(images.picture(image)) for image in drawn]
        return pd.DataFrame({"png": [base64.b64encode(png).decode() for png in pngs]})

    def latent(self, number: int, row: Mapping[Any, Any]) -> Tensor:
        """The latent vector ``[latent_dim]`` that a row asks for; ``number`` is the row's in messages."""
        latents = self.drawn_or_given(number, row)
        noun, names = self.final.origin.classes
        wanted = row.get(noun)
        if is_missing(wanted):
            return latents
        if not isinstance(self.final.generator, Conditional):
            raise MlflowException.invalid_parameter_value(
                f"row {number}: this generator, a {self.final.origin.variant}, cannot be told a {noun}: leave it out"
            )
        if noun == "digit" and not is_whole(wanted, 10):
            raise MlflowException.invalid_parameter_value(f"row {number}: a digit is a whole number from 0 to 9")
        if str(wanted) not in names:
            raise MlflowException.invalid_parameter_value(f"row {number}: {noun} is one of {', '.join(names)}")
        return self.final.generator.of_class(torch.tensor([names.index(str(wanted))]), latents[None])[0]

    def drawn_or_given(self, number: int, row: Mapping[Any, Any]) -> Tensor:
        """The latent vector by a row's seed, or the row's own."""
        given = {key: row[key] for key in ("seed", "latents") if not is_missing(row.get(key))}
        if len(given) != 1:
            raise MlflowException.invalid_parameter_value(f"row {number}: give it a seed, or latents")
        if "seed" in given:
            seed = given["seed"]
            if not is_whole(seed, 2**63):
                raise MlflowException.invalid_parameter_value(
                    f"row {number}: a seed is a whole number from 0 to 2**63 - 1"
                )
            return torch.randn(self.latent_dim, generator=torch.Generator().manual_seed(int(seed)))
        try:
            latents = torch.tensor(list(given["latents"]), dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            latents = torch.empty(0)
        if latents.shape != (self.latent_dim,) or not latents.isfinite().all():
            raise MlflowException.invalid_parameter_value(f"row {number}: latents are {self.latent_dim} finite numbers")
        return latents


def is_whole(value: Any, end: int) -> bool:
    """Whether a cell of a table is a whole number from 0 to ``end``, not included."""
    return not isinstance(value, bool) and isinstance(value, int | np.integer) and 0 <= int(value) < end


def is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty: None or not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


mlflow.models.set_model(Artist())
