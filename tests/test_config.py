"""params.yaml: the article's defaults, and a clear line for everything else."""

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, run_stage, set_params

from mnist_gan import config
from mnist_gan.errors import UserError


def test_defaults_are_the_articles(workspace: Path) -> None:
    """The committed ones: an experiment may have changed the working tree's."""
    committed = subprocess.run(
        ["git", "show", "HEAD:params.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    Path("params.yaml").write_text(committed.stdout)
    params = config.load()
    train = params.train
    assert (train.variant, train.epochs, train.batch_size, train.latent_dim) == ("gan", 100, 256, 100)
    assert (train.lr, train.b1, train.b2, train.sample_interval) == (0.0002, 0.5, 0.999, 100)
    assert (params.prepare.img_size, params.prepare.channels) == (32, 1)


def test_exponents_are_numbers(workspace: Path) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("lr: 0.0002", "lr: 2e-4"))
    assert config.load().train.lr == 0.0002


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train__epoch", 5, "train.epoch: unknown key"),
        ("train__epochs", "many", "train.epochs: input should be a valid integer, not 'many'"),
        ("train__epochs", 2.5, "train.epochs: input should be a valid integer"),
        ("train__epochs", 0, "train.epochs: input should be greater than or equal to 1, not 0"),
        ("train__epochs", True, "train.epochs: input should be a valid integer, not True"),
        ("train__lr", float("nan"), "train.lr: input should be a finite number, not nan"),
        ("train__lr", -0.1, "train.lr: input should be greater than 0, not -0.1"),
        ("train__b1", 1.0, "train.b1: input should be less than 1"),
        ("train__variant", "wgan", "train.variant: input should be 'gan' or 'dcgan', not 'wgan'"),
        ("train__precision", "float16", "train.precision: input should be 'auto', 'float32' or 'bfloat16'"),
        ("prepare__img_size", 40, "prepare.img_size: must be a multiple of 16 from 16 to 64"),
        ("prepare__channels", 2, "prepare.channels: input should be 1 or 3, not 2"),
        ("evaluate__samples", 10, "evaluate.samples: input should be greater than or equal to 1000, not 10"),
        ("download__mirrors", ["ftp://x"], "download.mirrors.0: string should match pattern"),
    ],
)
def test_bad_value_is_named(workspace: Path, key: str, value: object, message: str) -> None:
    set_params(workspace, **{key: value})
    with pytest.raises(UserError) as error:
        config.load()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_key_and_section_are_named(workspace: Path) -> None:
    Path("params.yaml").write_text("train: {epochs: 1}\n")
    with pytest.raises(UserError, match=r"train\.variant: missing") as error:
        config.load()
    assert "prepare: missing" in str(error.value)


@pytest.mark.parametrize("text", ["train: [", "", "5"])
def test_unreadable_file_is_one_line(workspace: Path, text: str) -> None:
    Path("params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml") as error:
        config.load()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("stage", ["download", "train"])
def test_stage_ends_with_one_line(workspace: Path, stage: str) -> None:
    set_params(workspace, train__variant="wgan")
    done = run_stage(stage, workspace)
    assert done.returncode == 1
    assert done.stderr == "error: params.yaml: train.variant: input should be 'gan' or 'dcgan', not 'wgan'\n"
    assert [path.name for path in workspace.iterdir()] == ["params.yaml"]
