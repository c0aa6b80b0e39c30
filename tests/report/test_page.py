"""The report on real runs: what it says, and how it looks in a browser, on a phone and on a desktop."""

import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import RESULTS, copy_store, run_python, set_params, uri_of
from mlflow import MlflowClient
from mlflow.entities import Run
from selenium.webdriver import Chrome

from mnist_gan.files import flatten
from mnist_gan.quality.panel import Estimate
from mnist_gan.report.charts import training_seconds
from mnist_gan.report.configurations import configurations
from mnist_gan.tracking.run import TrackedRun
from mnist_gan.training import generators


def compare(folder: Path, *arguments: str) -> "tuple[int, str, str]":
    done = run_python("-m", "mnist_gan", "compare", *arguments, folder=folder)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def runs_in(folder: Path) -> list[Run]:
    client = MlflowClient(uri_of(folder))
    return list(client.search_runs(["1"], order_by=["attributes.start_time ASC"]))


@pytest.fixture(scope="module")
def report(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report on three seeds each."""
    folder = tmp_path_factory.mktemp("report") / "checkout"
    shutil.copytree(published, folder, symlinks=True)
    for variant, epochs in (("gan", 2), ("dcgan", 3)):
        set_params(folder, train__variant=variant, train__seed=2, **{f"variants__{variant}__epochs": epochs})
        shutil.copy(folder / "params.yaml", folder / f"params-{variant}.yaml")
    done = run_python("-c", RESULTS, folder=folder)
    assert done.returncode == 0, done.stderr
    code, said, errors = compare(folder)
    assert (code, errors) == (0, "")
    assert said.splitlines()[1] == "reports/compare.html"
    return folder / "reports"


def test_the_report_holds_the_whole_story(report: Path) -> None:
    page, text = (report / "compare.html").read_text(), (report / "compare.md").read_text()
    for content in (page, text):
        labels = set(re.findall(r"\w+, epochs \d[^()|<]* \(n = \d\)", content))
        assert labels == {"gan, epochs 2 (n = 3)", "dcgan, epochs 3 (n = 3)"}
        assert re.search("is better: the Fréchet|The evidence is not enough for a winner|There is no winner", content)
        for name in ("frechet distance infinite", "kernel distance", "precision", "coverage", "classes present"):
            assert name in content
        for first, then in itertools.pairwise(("In numbers", "How sure", "Training", "All measures")):
            assert content.index(first) < content.index(then)
        for paper in ("arXiv 1406.2661", "arXiv 1511.06434"):
            assert paper in content
        for run in runs_in(report.parent):
            kept = report.parent / f"mlruns/{run.info.run_id}/artifacts/generator.safetensors"
            generator = generators.read(kept).generator
            assert f"{sum(weights.numel() for weights in generator.parameters()):,}" in content
            assert run.data.tags["generator.sha256"] in content
            assert f"/runs/{run.info.run_id}" in content
            kept = report.parent / f"mlruns/{run.info.run_id}/artifacts/metrics/evaluate.json"
            quality = flatten(json.loads(kept.read_text()))
            assert str(Estimate.of(quality, "judge/frechet_distance")) in content
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == 6 + 2 * 5
    assert all((report / picture).stat().st_size > 500 for picture in pictures)
    assert {f"compare/{path.name}" for path in (report / "compare").iterdir()} == set(pictures)
    assert "<script" not in page
    assert set(re.findall(r'src="(.{5})', page)) == {"data:"}


@pytest.mark.parametrize("width", [390, 1400])
def test_the_report_opens_offline_on_phone_and_desktop(report: Path, browser: Chrome, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.get((report / "compare.html").as_uri())
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width
    widths = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 6 + 2 * 5
    assert min(widths) > 0
    assert browser.execute_script("return document.querySelector('.verdict').getBoundingClientRect().top < 400")
    assert browser.get_log("browser") == []
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_runs_by_name_and_by_filter(published: Path, tmp_path: Path) -> None:
    first, *_, last = runs_in(published)
    named = (first.info.run_id[:12], last.data.tags["generator.sha256"][:12])
    code, said, _ = compare(published, "--runs", *named, "--output", str(tmp_path))
    assert code == 0
    assert said.startswith("There is no verdict: it needs 3 seeds of two configurations; dcgan, epochs 3 has 1, gan, ")
    assert (tmp_path / "compare.md").read_text().count("/runs/") == 2

    code, said, _ = compare(published, "--filter", "params.`train.variant` = 'gan'", "--output", str(tmp_path))
    assert code == 0
    assert said.startswith("There is nothing to decide")


def test_only_other_seeds_are_further_evidence(published: Path, tmp_path: Path) -> None:
    copy_store(published, tmp_path)
    client = MlflowClient(uri_of(tmp_path))
    gan, other_gan, dcgan, _ = runs_in(tmp_path)
    twice = (gan.info.run_id, gan.data.tags["generator.sha256"], dcgan.info.run_id, dcgan.info.run_id)
    _, said, _ = compare(tmp_path, "--runs", *twice)
    assert "dcgan, epochs 3 has 1, gan, epochs 2 has 1." in said

    # In another precision, and by a name that is no HTML.
    client.set_tag(other_gan.info.run_id, "precision", "other")
    client.update_run(other_gan.info.run_id, name="<b>seed</b>")
    _, said, _ = compare(tmp_path, "--runs", gan.info.run_id, other_gan.info.run_id)
    assert said.startswith("There is no verdict: it needs 3 seeds of two configurations; gan, ")
    page = (tmp_path / "reports/compare.html").read_text()
    assert "gan, other" in page
    assert "&lt;b&gt;seed&lt;/b&gt;" in page
    assert "<b>" not in page


def test_a_training_that_went_on_from_another_is_no_seed_of_its_own(published: Path) -> None:
    client = MlflowClient(uri_of(published))
    gan, other_gan, *_ = (TrackedRun(client, run) for run in runs_in(published))
    assert [group.label for group in configurations([gan, other_gan])] == ["gan"]
    other_gan.params["train.init_from"] = "0123456789ab"
    assert [group.label for group in configurations([gan, other_gan])] == ["gan", "gan, init_from 0123456789ab"]


def test_a_label_names_what_differs_within_a_variant(published: Path) -> None:
    client = MlflowClient(uri_of(published))
    gan, other_gan, dcgan, _ = (TrackedRun(client, run) for run in runs_in(published))
    dcgan.params["train.lr"] = "0.1"  # as a variant with a learning rate of its own has it
    dcgan.tags["precision"] = "its own"  # as ``auto`` means for each variant
    other_gan.params["train.precision"] = gan.tags["precision"]  # what ``auto`` means there
    assert [group.label for group in configurations([gan, other_gan, dcgan])] == ["gan, epochs 2", "dcgan, epochs 3"]
    other_gan.params["train.lr"] = "0.2"
    labels = [group.label for group in configurations([gan, other_gan, dcgan])]
    assert labels == ["gan, epochs 2, lr 0.0002", "gan, epochs 2, lr 0.2", "dcgan, epochs 3, lr 0.1"]
    other_gan.params["train.lr"] = gan.params["train.lr"]
    other_gan.tags["code"] = "0123456789ab"
    first, second, third = [group.label for group in configurations([gan, other_gan, dcgan])]
    assert (first, second) == (f"gan, epochs 2, code {gan.tags['code'][:7]}", "gan, epochs 2, code 0123456")
    assert third == "dcgan, epochs 3"


def test_runs_measured_differently_are_no_table(published: Path, tmp_path: Path) -> None:
    copy_store(published, tmp_path)
    client = MlflowClient(uri_of(tmp_path))
    client.set_tag(runs_in(tmp_path)[0].info.run_id, "ruler", "another")
    _, said, _ = compare(tmp_path)
    assert said.startswith("There is no verdict: the runs were measured differently")
    assert "kernel distance" not in (tmp_path / "reports/compare.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runs", "nothing"), "no published run is named 'nothing', or has an id or generator that begins with it"),
        (("--runs", ""), "'' stands for several runs: give the start of one's id: "),
        (("--filter", "params.x ~ 1"), "filter 'params.x ~ 1': "),
        (("--filter", "params.x = '1'"), "no published run to compare"),
    ],
)
def test_a_mistake_is_one_line(published: Path, tmp_path: Path, arguments: tuple[str, str], message: str) -> None:
    code, said, errors = compare(published, *arguments, "--output", str(tmp_path))
    assert (code, said) == (1, "")
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pause_is_no_training() -> None:
    stamps = np.array([100.0, 100.5, 101.0, 500.0, 500.5])
    epochs = np.stack([np.arange(5.0), np.arange(5.0), stamps])
    assert training_seconds(epochs).tolist() == [0, 0.5, 1, 1.5, 2]
