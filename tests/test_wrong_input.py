"""Wrong input of every kind gets an error of one line: no traceback, no hang, nothing wrong that is taken for right."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, copy_store, run_stage, set_params, uri_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModelContext

from mnist_gan import config, variants
from mnist_gan.data import raw
from mnist_gan.errors import UserError
from mnist_gan.tracking.serving import Artist
from mnist_gan.training import generators, unfinished
from mnist_gan.training.generators import Checkpoint, Origin
from mnist_gan.training.unfinished import Unfinished

MANY = settings(
    max_examples=300, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A change of some bytes: overwritten, cut off, doubled, or put between."""
    kind = draw(st.sampled_from(["overwrite", "cut", "insert", "double", "replace"]))
    where, content = draw(st.floats(0, 1)), draw(st.binary(min_size=1, max_size=20))

    def mutate(original: bytes) -> bytes:
        at = int(where * max(0, len(original) - 1))
        match kind:
            case "overwrite":
                return original[:at] + content + original[at + len(content) :]
            case "cut":
                return original[:at]
            case "insert":
                return original[:at] + content + original[at:]
            case "double":
                return original + original[at:]
            case _:
                return content

    return mutate


@pytest.fixture
def checkpoint(workspace: Path) -> bytes:
    """The file of a small generator, which is written at generators.FINAL."""
    return written("gan")


def written(variant: str) -> bytes:
    """The file of a small generator of the variant, written at generators.FINAL."""
    torch.manual_seed(0)
    options = {**config.load().variants[variant]}
    generator = variants.build(variant, variants.parse(variant, options), 4, (1, 16, 16)).generator
    shared = config.load().train.model_dump() | {"variant": variant, "latent_dim": 4}
    origin = Origin(variant, (1, 16, 16), shared, options, ("loss_g",), "0" * 64, {"device": "cpu"})
    generators.write(generators.FINAL, Checkpoint(generator, origin, 1, 1))
    return generators.FINAL.read_bytes()


def test_a_mutated_checkpoint_is_damaged_or_the_same(checkpoint: bytes) -> None:
    @MANY
    @given(mutations())
    def check(mutate: Callable[[bytes], bytes]) -> None:
        changed = mutate(checkpoint)
        generators.FINAL.write_bytes(changed)
        if changed == checkpoint:
            return
        with pytest.raises(UserError) as error:
            generators.read()
        assert "\n" not in str(error.value)

    check()


def test_a_mutated_unfinished_training_is_damaged_or_the_same(workspace: Path) -> None:
    state = {"steps": torch.tensor(3), "losses": torch.rand(3, 4), "random": torch.arange(50, dtype=torch.uint8)}
    with unfinished.exclusive({"train.variant": "gan"}) as training:
        training.save(state)
        training.end("0" * 64)
    paths = [training.state, training.folder / "training.json", training.folder / "finished.json"]
    whole = {path: path.read_bytes() for path in paths}

    @MANY
    @given(mutations(), st.sampled_from(paths))
    def check(mutate: Callable[[bytes], bytes], path: Path) -> None:
        path.write_bytes(mutate(whole[path]))
        try:
            read = Unfinished(training.folder)
            found = read.read()
            unfinished.passed_over({})
        except UserError as error:
            assert "\n" not in str(error)
        else:
            # What JSON has beside the checksum: an id and how long it took, which determine nothing.
            assert found is not None
            assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
        finally:
            path.write_bytes(whole[path])

    check()


def test_mutated_idx_files_are_not_mnist(mnist: Path, workspace: Path) -> None:
    (workspace / "data/raw").mkdir(parents=True)
    names = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "set.json")
    for name in names:
        shutil.copy(mnist / "data/raw" / name, workspace / "data/raw")
    labels = workspace / "data/raw" / names[1]
    whole = labels.read_bytes()

    @MANY
    @given(mutations())
    def check(mutate: Callable[[bytes], bytes]) -> None:
        changed = mutate(whole)
        labels.write_bytes(changed)
        if changed == whole:
            return
        with pytest.raises(UserError, match="is damaged"):
            raw.read_raw("test")

    check()


def test_mutated_params_are_valid_or_one_line(workspace: Path) -> None:
    path = workspace / "params.yaml"
    whole = path.read_bytes()

    @MANY
    @given(mutations())
    def check(mutate: Callable[[bytes], bytes]) -> None:
        path.write_bytes(mutate(whole))
        try:
            read = config.load()
            variants.parse(read.train.variant, read.variant)
        except UserError as error:
            assert "\n" not in str(error)

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=6,
)
COLUMNS = ("seed", "latents", "digit")


def is_whole(value: Any, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end


ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "seed": JSON,
            "latents": JSON | st.lists(st.floats(-1, 1), min_size=4, max_size=4),
            "digit": JSON | st.integers(0, 9),
        },
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("variant", ["gan", "cr3gan"])
def test_mutated_requests_get_a_picture_a_row_or_an_error(workspace: Path, variant: str) -> None:
    written(variant)
    artist = Artist()
    artist.final = generators.read()
    artist.latent_dim = 4

    def fits(row: dict[str, Any]) -> bool:
        """Whether a row is right by what the docs say of it."""
        seed, latents, digit = (None if row.get(key) != row.get(key) else row.get(key) for key in COLUMNS)
        if (seed is None) == (latents is None):
            return False
        if digit is not None and (variant == "gan" or not is_whole(digit, 10)):
            return False
        if latents is None:
            return is_whole(seed, 2**63)
        return isinstance(latents, list) and len(latents) == 4 and all(isinstance(v, float | int) for v in latents)

    @MANY
    @given(ROWS)
    def check(rows: list[dict[str, Any]]) -> None:
        frame = pd.DataFrame({key: pd.Series([row.get(key) for row in rows], dtype=object) for key in COLUMNS})
        try:
            answer = artist.predict(PythonModelContext({}, {}), frame)
        except MlflowException as error:
            assert error.get_http_status_code() == 400
        else:
            assert len(answer) == len(rows)
            assert all(fits(row) for row in rows)

    check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__init_from": 1234567e8901}, "train.init_from: must be text; quote it: inf is no text to YAML"),
        ({"train__init_from": None}, "train.init_from: must be text"),
        ({"train__init_from": "../x"}, "train.init_from: string should match"),
        ({"variants__gan__epochs": 10**9}, "variants.gan.epochs: input should be less than or equal to 100000"),
        ({"download__mirrors": ["mirror.example/mnist"]}, "download.mirrors.0: string should match"),
        ({"train__seed": "1"}, "train.seed: "),
        ({"train__latent_dim": 10**12}, "train.latent_dim: input should be less than or equal to"),
    ],
)
def test_a_value_that_is_not_allowed_is_one_line(workspace: Path, changes: dict[str, Any], message: str) -> None:
    set_params(workspace, train__variant="gan", **changes)
    done = next(done for stage in ("check", "options") if (done := run_stage(stage, workspace)).returncode)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: params.yaml: {message}"), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_notebooks_matplotlib_setting_is_in_nobodys_way(published: Path, tmp_path: Path) -> None:
    copy_store(published, tmp_path)
    done = run_stage("compare", tmp_path, MPLBACKEND="module://matplotlib_inline.backend_inline")
    assert done.returncode == 0, done.stderr


def test_without_git_a_training_has_no_commit(small: Path) -> None:
    done = run_stage("train", small, PATH=str(ROOT / "nowhere"))
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="another user's checkout (only root can give one away)")
def test_in_another_users_checkout_a_training_has_no_commit(small: Path) -> None:
    for command in ("init --quiet", "add params.yaml", "-c user.name=T -c user.email=t@example.org commit -qm start"):
        subprocess.run(["git", *command.split()], check=True)
    for path in (small, small / ".git"):
        os.chown(path, 1000, 1000)
    done = run_stage("train", small)
    assert done.returncode == 0, done.stderr
    assert "fatal" not in done.stdout + done.stderr
    (run,) = MlflowClient(uri_of(small)).search_runs(["1"])
    assert "mlflow.source.git.commit" not in run.data.tags


def test_a_large_seed_of_numpy_is_drawn_at_once(workspace: Path) -> None:
    """A table may hold numpy's whole numbers, which Python's ``range`` would look for one by one."""
    written("gan")
    artist = Artist()
    artist.final, artist.latent_dim = generators.read(), 4
    seed = 2**62
    (of_numpy,), (of_python,) = (
        artist.predict(PythonModelContext({}, {}), pd.DataFrame({"seed": pd.Series([value], dtype=object)}))["png"]
        for value in (np.int64(seed), seed)
    )
    assert of_numpy == of_python
