"""A project of somebody's own: the working tree as a git repository, with a variant that trains in a second."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from conftest import ROOT, set_params
from dvc.repo import Repo
from mlflow import MlflowClient
from mlflow.entities import Run

SQUARES = """
import torch
from torch import nn
from mnist_gan import variants
from mnist_gan.variants import Update

class Options(variants.Options):
    width: int

class Variant(variants.Variant):
    record = ("loss_g", "loss_d", "difference")

    def __init__(self, options, latent_dim, image_shape):
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        generator = nn.Sequential(
            nn.Linear(latent_dim, options.width), nn.ReLU(), nn.Linear(options.width, pixels), nn.Tanh(),
            nn.Unflatten(1, image_shape),
        )
        super().__init__(generator, nn.Sequential(nn.Flatten(), nn.Linear(pixels, 1)), latent_dim)

    def step(self, real):
        fake = self.generator(self.latents(real))
        loss_g = (self.discriminator(fake) - 1).square().mean()
        yield Update(self.generator, loss_g)
        on_real, on_fake = self.discriminator(real), self.discriminator(fake.detach())
        loss_d = (on_real - 1).square().mean() + on_fake.square().mean()
        yield Update(self.discriminator, loss_d)
        return torch.stack([loss_g, loss_d, (on_real - on_fake).mean()]).detach()
"""
"""A variant of somebody's own, which trains in a second."""


class Project:
    """A copy of the working tree as a git repository of its own, with SQUARES and params for a short pipeline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.splitlines():
            if name != "dvc.lock" and not name.startswith(("metrics/", "plots/", "docs/")) and (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        (folder / "src/mnist_gan/variants/squares.py").write_text(SQUARES)
        squares = {"epochs": 1, "batch_size": 256, "lr": 0.0002, "b1": 0.5, "b2": 0.999, "width": 64}
        set_params(
            folder, download__mirrors=[], prepare__img_size=16, train__variant="squares", train__device="cpu",
            variants__squares=squares, variants__gan__epochs=1, evaluate__samples=1000,
        )  # fmt: skip
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.name", "Test")
        self.run("git", "config", "user.email", "test@example.org")
        self.commit("start")

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"PATH": path, "PYTHONPATH": "src"}

    def run(self, *command: str) -> str:
        """What ``command`` prints; it must succeed."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def stage_fails(self, stage: str) -> str:
        """The line that ``stage`` prints where it cannot be done."""
        command = [sys.executable, "-m", "mnist_gan", stage]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        return done.stderr

    def commit(self, message: str) -> None:
        self.run("git", "add", ".")
        self.run("git", "commit", "--quiet", "--message", message)

    def take(self, prepared: Path) -> None:
        """Download MNIST, and take the images in the folder ``prepared`` for those that ``prepare`` made of it."""
        self.run("dvc", "repro", "download")
        shutil.copytree(prepared, self.folder / "data/prepared")
        self.run("dvc", "commit", "--force", "prepare")

    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()

    def runs(self) -> list[Run]:
        # A client keeps a database open, also one that was deleted: each look takes a copy of its own.
        copy = self.folder.with_name(f"look-{time.monotonic_ns()}.db")
        shutil.copy(self.folder / "mlflow.db", copy)
        client = MlflowClient(f"sqlite:///{copy}")
        experiment = client.get_experiment_by_name("mnist-gan")
        assert experiment
        return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))

    def experiments(self) -> set[tuple[str, str]]:
        """Name and state of what DVC has of experiments; one in no queue is a success."""
        shown = json.loads(self.run("dvc", "exp", "show", "--json"))
        every = [experiment for commit in shown for experiment in commit["experiments"] or ()]
        return {
            (each["revs"][0]["name"], each["executor"]["state"] if each["executor"] else "success") for each in every
        }

    def stale(self) -> set[str]:
        """The stages that ``dvc repro`` would run; publish always does."""
        with Repo(str(self.folder)) as repo:  # in this process: `dvc status` takes longer to start than to look
            found = {name.rpartition(":")[2] for name in repo.status()}
        return {name for name in found if name not in ("check", "options", "publish")}
