"""A training goes on from the end of another that had the same networks."""

from pathlib import Path

import pytest
import torch
from conftest import set_params

from mnist_gan import config, variants
from mnist_gan.errors import UserError
from mnist_gan.files import write_tensors
from mnist_gan.training import starts
from mnist_gan.training.generators import layout


def test_a_start_has_the_same_layout(workspace: Path) -> None:
    params = config.load()
    there = layout("r3gan", variants.parse("r3gan", params.variants["r3gan"]), 100, 1, 32)
    write_tensors(starts.FOLDER / "one-epoch", {"steps": torch.tensor(1)}, {"layout": there, "epochs": 1})
    set_params(workspace, train__variant="r3gan", train__init_from="one-epoch")
    assert starts.checked(config.load()) == starts.FOLDER / "one-epoch"
    for key, value in (
        ("variants__r3gan__width", 48),
        ("variants__r3gan__ratio", 2.0),
        ("variants__r3gan__muon", False),
        ("variants__r3gan__supersampling", 4),
        ("variants__r3gan__batch_size", 48),
        ("train__latent_dim", 64),
        ("prepare__img_size", 48),
        ("prepare__channels", 3),
    ):
        before = (workspace / "params.yaml").read_text()
        set_params(workspace, **{key: value})
        with pytest.raises(UserError, match=f"one-epoch is a training with {key.rpartition('__')[2]} .*, here {value}"):
            starts.checked(config.load())
        (workspace / "params.yaml").write_text(before)


def test_a_start_of_before_an_option_is_as_it_was_then(workspace: Path) -> None:
    params = config.load()
    there = layout("cr3gan", variants.parse("cr3gan", params.variants["cr3gan"]), 100, 1, 32)
    del there["ratio"], there["muon"], there["supersampling"], there["moments"]
    write_tensors(starts.FOLDER / "old", {"steps": torch.tensor(1)}, {"layout": there, "epochs": 1})
    set_params(workspace, train__variant="cr3gan", train__init_from="old")
    for option, was in {"ratio": 1.0, "muon": False, "supersampling": 1, "moments": 0.0}.items():
        said = f"old is a training with {option} {was}, here {params.variants['cr3gan'][option]}"
        with pytest.raises(UserError, match=said):
            starts.checked(config.load())
        set_params(workspace, **{f"variants__cr3gan__{option}": was})
    assert starts.checked(config.load()) == starts.FOLDER / "old"
