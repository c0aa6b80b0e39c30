"""A generator's file is enough to rebuild it, and says when it is damaged."""

from pathlib import Path

import pytest
import torch
from conftest import run_stage

from mnist_gan import variants
from mnist_gan.config import VARIANTS, load
from mnist_gan.errors import UserError
from mnist_gan.files import write_atomically
from mnist_gan.training import generators
from mnist_gan.training.generators import Checkpoint, Origin


def made(name: str) -> Checkpoint:
    options = variants.parse(name, load().variants[name])
    variant = variants.build(name, options, 20, (1, 16, 16))
    origin = Origin(
        name, (1, 16, 16), {"latent_dim": 20}, options.model_dump(), variant.record, "0" * 64, {"device": "cpu"}
    )
    variant.drawn(torch.randn(8, 20))
    return Checkpoint(variant.drawn, origin, epoch=3, step=705)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_generator_file_rebuilds_the_generator(workspace: Path, name: str) -> None:
    before = made(name)
    generators.write(generators.FINAL, before)
    after = generators.read()
    assert (after.origin, after.epoch, after.step) == (before.origin, 3, 705)
    latents = torch.randn(4, 20)
    assert torch.equal(after.generator(latents), before.generator.eval()(latents))


def test_equal_generators_are_equal_files(workspace: Path) -> None:
    checkpoint = made("dcgan")
    for path in (Path("a"), Path("b")):
        generators.write(path, checkpoint)
    checkpoint.generator.to(memory_format=torch.channels_last)
    generators.write(Path("c"), checkpoint)
    assert Path("a").read_bytes() == Path("b").read_bytes() == Path("c").read_bytes()


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 4096])
@pytest.mark.parametrize("stage", ["render", "evaluate"])
def test_a_damaged_checkpoint_is_one_line(small: Path, stage: str, content: bytes) -> None:
    for path in (generators.FINAL, generators.checkpoint_path(1)):
        write_atomically(path, content)
    done = run_stage(stage, small)
    assert done.returncode == 1
    assert done.stderr.startswith("error: models/generator/")
    assert "is damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (small / "plots").exists()


def test_a_cut_checkpoint_is_damaged(workspace: Path) -> None:
    generators.write(generators.FINAL, made("gan"))
    whole = generators.FINAL.read_bytes()
    generators.FINAL.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="is damaged"):
        generators.read()


def test_of_a_file_elsewhere_nothing_is_advised(workspace: Path) -> None:
    """It is not models/generator that would restore it."""
    for content in (None, b"garbage"):
        if content:
            Path("other.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=r"other.safetensors (not found|is damaged)") as refused:
            generators.read(Path("other.safetensors"))
        assert "dvc" not in str(refused.value)


def test_a_generator_of_a_variant_that_is_gone_is_named(workspace: Path) -> None:
    checkpoint = made("gan")
    gone = Origin(**vars(checkpoint.origin) | {"variant": "wgan"})
    generators.write(generators.FINAL, Checkpoint(checkpoint.generator, gone, 3, 705))
    with pytest.raises(UserError, match="is of a variant that src/mnist_gan/variants does not have: wgan"):
        generators.read()


@pytest.mark.parametrize("stage", ["render", "evaluate", "publish"])
def test_a_missing_generator_is_one_line(small: Path, stage: str) -> None:
    done = run_stage(stage, small)
    assert done.returncode == 1
    assert "run `dvc repro train`" in done.stderr
    assert done.stderr.count("\n") == 1
