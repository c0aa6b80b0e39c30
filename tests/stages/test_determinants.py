"""dvc.yaml is the one list of what determines a result: nothing is missing from it, and nothing is too much."""

import re
import shutil
from pathlib import Path
from typing import Any

import grimp
import pytest
from conftest import ROOT
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML

from mnist_gan import pipeline
from mnist_gan.config import VARIANTS, Config, load

PIPELINE = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
COMPUTING = [name for name in PIPELINE if name not in ("check", "options", "publish")]
OBSERVERS = ("mnist_gan.tracking", "mnist_gan.report")
"""They look on, and determine nothing: tests/training/test_trainer.py shows it."""


@pytest.fixture(scope="module")
def imports() -> "grimp.ImportGraph":
    return grimp.build_graph("mnist_gan", cache_dir=None)


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def needed(graph: "grimp.ImportGraph", stage: str) -> set[str]:
    """Every module that a stage runs, directly or not, but for what only observers import, and the selected variant."""
    selectable = {f"mnist_gan.variants.{name}" for name in VARIANTS}
    found: set[str] = set()
    todo = [f"mnist_gan.stages.{stage}"]
    while todo:
        module = todo.pop()
        if module in found or any(is_in(module, observer) for observer in OBSERVERS):
            continue
        found.add(module)
        todo += graph.find_modules_directly_imported_by(module)
        if module == "mnist_gan.variants":
            todo += selectable  # imported by name
    return found - selectable


def modules(dep: str) -> str:
    """The module or package that a dep names, or whose template it is."""
    return dep.removeprefix("src/").partition(".")[0].removesuffix("/__init__").replace("/", ".")


def test_dvc_would_write_dvc_yaml_as_it_is(tmp_path: Path) -> None:
    """So that `dvc stage add` changes what it is about, and no other line."""
    copy = Path(shutil.copy(ROOT / "dvc.yaml", tmp_path))
    with modify_yaml(str(copy)):
        pass
    assert copy.read_text() == (ROOT / "dvc.yaml").read_text()


@pytest.mark.parametrize("stage", COMPUTING)
def test_deps_are_what_a_stage_runs(imports: "grimp.ImportGraph", stage: str) -> None:
    deps = [dep for dep in PIPELINE[stage]["deps"] if dep.startswith("src/")]
    listed = {modules(dep) for dep in deps if "$" not in dep}
    exact = {modules(dep) for dep in deps if dep.endswith(".py")}
    run = needed(imports, stage)
    # The packages' own files hold a docstring alone, but for variants', which is listed.
    rooms = {module for module in run if module.count(".") == 1 and (ROOT / "src" / module.replace(".", "/")).is_dir()}
    missing = {
        module
        for module in run - (rooms - {"mnist_gan.variants"}) - {"mnist_gan"}
        if not any(module == dep or (dep not in exact and is_in(module, dep)) for dep in listed)
    }
    assert missing == set()
    assert {dep for dep in listed if not any(is_in(module, dep) for module in run)} == set()


@pytest.mark.parametrize("stage", COMPUTING)
def test_a_stage_that_builds_networks_depends_on_the_selected_variant(imports: "grimp.ImportGraph", stage: str) -> None:
    builds = "mnist_gan.variants" in needed(imports, stage)
    assert ("src/mnist_gan/variants/${train.variant}.py" in PIPELINE[stage]["deps"]) == builds


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_is_its_file_and_its_section(stage: str) -> None:
    listed: dict[str, Any] = PIPELINE[stage]
    assert listed["cmd"] == f"PYTHONPATH=src python -m mnist_gan {stage}"
    sections = {
        "check": [],
        "download": ["data", "download"],
        "evaluate": ["data", "evaluate"],
        "options": ["variants"],
        "publish": [],
        "ruler": ["evaluate.samples"],
        "train": ["train", "variants.${train.variant}"],
    }
    assert listed.get("params", []) == sections.get(stage, [stage])


def test_rooms_have_no_code_of_their_own() -> None:
    """But for variants, whose file is what all of them share, a room's own file says what the room is for."""
    for path in (ROOT / "src").rglob("__init__.py"):
        code = re.sub(r'""".*?"""\n', "", path.read_text(), flags=re.DOTALL)
        assert (code == "") == (path.parent.name != "variants")


@pytest.fixture
def params(workspace: Path) -> Config:
    return load()


@pytest.mark.parametrize("variant", VARIANTS)
def test_inputs_of_a_training_are_its_parameters_and_its_code(params: Config, variant: str) -> None:
    chosen = params.model_copy(update={"train": params.train.model_copy(update={"variant": variant})})
    inputs = pipeline.inputs("train", chosen)
    assert inputs["train.variant"] == variant
    assert inputs[f"variants.{variant}.epochs"] == str(params.variants[variant]["epochs"])
    files = {name for name in inputs if "/" in name}
    assert {f"src/mnist_gan/variants/{variant}.py", "src/mnist_gan/training/engine.py"} <= files
    others = [part for other in VARIANTS if other != variant for part in (f"variants/{other}.py", f"variants.{other}.")]
    assert not {
        name for name in inputs for other in others if f"variants/{other}.py" in name or f"variants.{other}." in name
    }
    assert not {name for name in files if "tracking" in name or "report" in name}
    assert {name for name in inputs if "/" not in name} == {
        *(f"train.{key}" for key in chosen.train.model_dump()),
        *(f"variants.{variant}.{key}" for key in params.variants[variant]),
    }
