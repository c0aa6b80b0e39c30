"""The judges know digits, and are made again from their seeds."""

import hashlib
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import ROOT, run_stage
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from mnist_gan import config
from mnist_gan.config import FrozenConfig
from mnist_gan.data.prepared import Split
from mnist_gan.errors import UserError
from mnist_gan.quality import frozen, judge
from mnist_gan.quality.sight import Eyes

TINY = FrozenConfig(seed=3, epochs=1, batch_size=64, lr=0.004)


def weights_hash(made: judge.Judge) -> str:
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in made.state_dict().values())).hexdigest()


def test_the_committed_judges_are_right_and_different(eyes: Eyes, test_split: Split) -> None:
    judges = eyes.judges
    assert len({weights_hash(one) for one in judges}) == judge.COUNT
    assert min(judge.accuracy([one], test_split) for one in judges) >= 0.993
    assert judge.accuracy(judges, test_split) >= 0.995


@pytest.mark.parametrize(("largest", "steps"), [(0.004, 28), (0.003, 1874)])
def test_the_schedule_is_torchs(largest: float, steps: int) -> None:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=largest, momentum=0.9)
    theirs = OneCycleLR(optimizer, largest, total_steps=steps)
    for step, ours in enumerate(frozen.one_cycle(largest, steps), start=1):
        assert ours == (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if step < steps:
            theirs.step()


def test_features_have_a_unit(eyes: Eyes, test_split: Split) -> None:
    for one in eyes.judges:
        features = judge.features(one, test_split.images)
        assert features.shape == (10000, judge.FEATURES)
        assert 20 < torch.cov(features.T.double()).trace() < 100


def test_a_judge_that_is_read_sees_what_was_trained(eyes: Eyes, mnist: Path, test_split: Split) -> None:
    """Its layers are joined and reordered when it is read."""
    trained = judge.Judge()
    trained.load_state_dict(safetensors.torch.load_file(mnist / judge.PATHS[0]))
    images = test_split.images[:500]
    expected = judge.features(trained.eval(), images)
    torch.testing.assert_close(judge.features(eyes.judges[0], images), expected, atol=1e-4, rtol=1e-4)


def test_the_seed_determines_the_judge(train_split: Split) -> None:
    few = Split(train_split.images[:512], train_split.labels[:512])
    first, again = (weights_hash(judge.train(TINY, few, lambda *_: None)) for _ in range(2))
    other = weights_hash(judge.train(TINY.model_copy(update={"seed": 4}), few, lambda *_: None))
    assert first == again != other


def test_the_networks_of_mnist_are_those_in_git(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*(f"judges/{path.name}" for path in judge.PATHS), "judges/accuracy.json", "autoencoder.safetensors"):
        assert (mnist / "models" / name).read_bytes() == (ROOT / "models/mnist" / name).read_bytes()
    monkeypatch.chdir(mnist)
    options = config.load().judges
    assert not frozen.take_committed("judges", options.model_copy(update={"seed": 9}), judge.FOLDER)


def test_a_committed_network_that_is_damaged_is_one_line(mnist: Path, workspace: Path) -> None:
    shutil.copytree(mnist / "data/raw", "data/raw")
    shutil.copytree(ROOT / "models/mnist", "models/mnist")
    Path("models/mnist/judges/judge-2.safetensors").write_bytes(b"other")
    done = run_stage("judges", workspace)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "`git checkout models/mnist/judges/judge-2.safetensors` restores it" in done.stderr


def test_few_images_are_looked_at_more_often() -> None:
    options = config.load(ROOT / "params.yaml").judges
    assert frozen.for_so_many(60_000, options) == options
    few = frozen.for_so_many(1600, options)
    assert (few.batch_size, few.epochs) == (100, 20)


def test_a_damaged_judge_is_named(small: Path) -> None:
    judge.PATHS[3].write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"models/judges/judge-3\.safetensors cannot be read"):
        judge.read()


def test_sizes_and_colours_are_judged_alike(eyes: Eyes, test_split: Split) -> None:
    images = test_split.images[:200]
    first = eyes.judges[0]
    coloured = judge.features(first, images.expand(-1, 3, -1, -1))
    torch.testing.assert_close(coloured, judge.features(first, images))
    doubled = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert judge.accuracy([first], Split(doubled, test_split.labels[:200])) > 0.98


@pytest.mark.slow
def test_the_committed_judge_is_made_by_its_stage(train_split: Split, test_split: Split) -> None:
    """The same seed gives an equally good judge on any machine; equal bits only on an equal one."""
    made = judge.train(config.load(ROOT / "params.yaml").judges, train_split, lambda *_: None)
    assert judge.accuracy([made], test_split) >= 0.993
