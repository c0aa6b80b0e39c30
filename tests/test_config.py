"""params.yaml: the article's defaults, and a clear line for everything else."""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, run_stage, set_params
from dvc.utils.serialize import load_yaml, modify_yaml

from mnist_gan import config, variants
from mnist_gan.errors import UserError


def test_the_articles_variants_have_its_defaults(workspace: Path) -> None:
    """The committed ones: an experiment may have changed the working tree's."""
    committed = subprocess.run(
        ["git", "show", "HEAD:params.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    Path("params.yaml").write_text(committed.stdout)
    params = config.load()
    for name in ("gan", "dcgan"):
        options = variants.parse(name, params.variants[name])
        assert (options.epochs, options.batch_size) == (100, 256)
        assert (options.lr, options.b1, options.b2) == (0.0002, 0.5, 0.999)
    assert (params.train.latent_dim, params.train.sample_interval) == (100, 100)
    assert (params.prepare.img_size, params.prepare.channels) == (32, "auto")


def test_every_variant_in_the_house_has_a_section_that_it_understands(workspace: Path) -> None:
    params = config.load()
    assert sorted(params.variants) == config.VARIANTS
    for name, section in params.variants.items():
        assert variants.parse(name, section).model_dump() == section


@pytest.mark.parametrize("text", ["2e-4", "0.0002", "2.0E-04"])
def test_numbers_are_what_dvc_reads(workspace: Path, text: str) -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("lr: 0.0002", f"lr: {text}"))
    read = config.load().model_dump()
    assert read["variants"]["gan"]["lr"] == 0.0002
    assert read == load_yaml("params.yaml")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train__epochs", 5, "train.epochs: unknown key"),
        ("train__seed", "many", "train.seed: input should be a valid integer, not 'many'"),
        ("train__seed", 2.5, "train.seed: input should be a valid integer"),
        ("train__latent_dim", 0, "train.latent_dim: input should be greater than or equal to 1, not 0"),
        ("train__latent_dim", True, "train.latent_dim: input should be a valid integer, not True"),
        ("train__variant", "wgan", "train.variant: must be one of cr3gan, dcgan, gan, nsgan, r3gan, sngan, not 'wgan'"),
        ("train__variant", "__init__", "train.variant: must be one of cr3gan, dcgan, gan, nsgan, r3gan"),
        ("variants__wgan", {"epochs": 1}, "variants.wgan: unknown key: src/mnist_gan/variants has no wgan.py"),
        ("variants__gan", 5, "variants.gan: input should be a valid dictionary, not 5"),
        ("train__precision", "float16", "train.precision: input should be 'auto', 'float32' or 'bfloat16'"),
        ("train__threads", 0, "train.threads: must be auto or a whole number from 1 to 1024, not 0"),
        ("train__threads", True, "train.threads: must be auto or a whole number from 1 to 1024, not True"),
        ("train__threads", "all", "train.threads: must be auto or a whole number from 1 to 1024, not 'all'"),
        ("prepare__img_size", 40, "prepare.img_size: must be a multiple of 16 from 16 to 64"),
        ("prepare__channels", 2, "prepare.channels: input should be 'auto', 1 or 3, not 2"),
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


@pytest.mark.parametrize(
    ("variant", "change", "message"),
    [
        ("gan", {"epoch": 5}, "variants.gan.epoch: unknown key"),
        ("gan", {"gamma": 1.0}, "variants.gan.gamma: unknown key"),
        ("dcgan", {"epochs": 0}, "variants.dcgan.epochs: input should be greater than or equal to 1, not 0"),
        ("gan", {"lr": float("nan")}, "variants.gan.lr: input should be a finite number, not nan"),
        ("gan", {"lr": -0.1}, "variants.gan.lr: input should be greater than 0, not -0.1"),
        ("gan", {"b1": 1.0}, "variants.gan.b1: input should be less than 1"),
        ("r3gan", {"average": 1.0}, "variants.r3gan.average: input should be less than 1"),
        ("sngan", {"width": 1}, "variants.sngan.width: input should be greater than or equal to 2, not 1"),
        ("r3gan", {"ratio": 0.5}, "variants.r3gan.ratio: input should be greater than or equal to 1, not 0.5"),
        ("nsgan", {"supersampling": 10**9}, "variants.nsgan.supersampling: input should be less than or equal to 64"),
        ("cr3gan", {"width": 10**9}, "variants.cr3gan.width: input should be less than or equal to 1024"),
        ("nsgan", {"decay": 1.5}, "variants.nsgan.decay: input should be less than or equal to 1, not 1.5"),
    ],
)
def test_bad_option_of_a_variant_is_named(
    workspace: Path, variant: str, change: dict[str, object], message: str
) -> None:
    section = config.load().variants[variant]
    with pytest.raises(UserError) as error:
        variants.parse(variant, section | change)
    assert str(error.value).startswith(f"params.yaml: {message}")
    assert "\n" not in str(error.value)


def test_the_selected_variant_needs_a_section(workspace: Path) -> None:
    set_params(workspace, variants={"gan": {}}, train__variant="dcgan")
    with pytest.raises(UserError, match=r"params\.yaml: variants\.dcgan: missing"):
        config.load()


def test_missing_key_and_section_are_named(workspace: Path) -> None:
    Path("params.yaml").write_text("train: {seed: 1}\n")
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
    assert (
        done.stderr == f"error: params.yaml: train.variant: must be one of {', '.join(config.VARIANTS)}, not 'wgan'\n"
    )
    assert {path.name for path in workspace.iterdir()} == {"params.yaml", "dvc.yaml", "data", "src"}


def test_dvc_changes_a_parameter_and_nothing_else(tmp_path: Path) -> None:
    """As ``dvc exp run -S`` does; a list with a comment beside its name came out as no YAML."""
    params = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params)
    for seed in (1, 0):
        with modify_yaml(str(params)) as changed:
            changed["train"]["seed"] = seed
    assert params.read_text() == (ROOT / "params.yaml").read_text()
    with modify_yaml(str(params)) as changed:
        changed["download"]["mirrors"] = []
    assert load_yaml(str(params))["download"] == {"mirrors": []}
