"""MLflow's own pages tell GAN and DCGAN apart: real runs, a real server, headless Chromium."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import mlflow_process
from mlflow import MlflowClient
from mlflow.entities import Run
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from mnist_gan.files import flatten
from mnist_gan.quality.panel import Estimate
from mnist_gan.report.summary import digits

SECTIONS = ("train", "validation", "judge", "autoencoder", "best")


@pytest.fixture(scope="module")
def ui(published: Path) -> Iterator[str]:
    """The address of the experiment's runs."""
    store = f"sqlite:///{published}/mlflow.db"
    with mlflow_process("server", "--workers", "1", "--backend-store-uri", store, folder=published) as (uri, _):
        yield f"{uri}/#/experiments/1/runs"


@pytest.fixture(scope="module")
def pair(published: Path) -> list[Run]:
    """A GAN and a DCGAN."""
    client = MlflowClient(f"sqlite:///{published}/mlflow.db")
    return list(client.search_runs(["1"], "params.`train.seed` = '0'", order_by=["params.`train.variant`"]))


def text(browser: Chrome) -> str:
    """What the page says."""
    return str(browser.execute_script("return document.body.innerText"))


def whole_text(browser: Chrome) -> set[str]:
    """The lines of the page, those that tables show only when scrolled to included."""
    browser.set_script_timeout(120)
    lines = browser.execute_async_script(
        """
        const done = arguments[0], lines = new Set();
        const collect = () => document.body.innerText.split(/[\\n\\t]/).forEach(line => lines.add(line.trim()));
        const scrolls = box => ["auto", "scroll"].includes(getComputedStyle(box).overflowY);
        (async () => {
            collect();
            for (const box of [...document.querySelectorAll("div")].filter(scrolls)) {
                for (let y = 0; y < box.scrollHeight; y += 150) {
                    box.scrollTop = y;
                    await new Promise(resolve => setTimeout(resolve, 100));
                    collect();
                }
            }
            done([...lines]);
        })();
        """
    )
    return set(lines)


def wait_for(browser: Chrome, *expected: str) -> None:
    """Until the page says all of it."""
    missing = set(expected)

    def there(_: Chrome) -> bool:
        missing.intersection_update({part for part in expected if part not in text(browser)})
        return not missing

    WebDriverWait(browser, 60).until(there, f"the page never said {missing}")


def test_compare_shows_two_runs_side_by_side(ui: str, browser: Chrome, pair: list[Run]) -> None:
    browser.get(ui)
    names = [str(run.info.run_name) for run in pair]
    assert names == ["dcgan 6 epochs seed 0", "gan 2 epochs seed 0"]
    wait_for(browser, *names)
    for name in names:
        row = browser.find_element(By.XPATH, f"//div[@role='row'][.//*[normalize-space()='{name}']]")
        row.find_element(By.CSS_SELECTOR, "input[aria-label^='Press Space to toggle row selection']").click()
    browser.find_element(By.XPATH, "//button[normalize-space()='Compare']").click()

    wait_for(browser, "Comparing 2 Runs from 1 Experiment", *names)
    said = whole_text(browser)
    assert {"train.variant", "gan", "dcgan", "train.epochs", "2", "6"} <= said
    assert {"judge/frechet_distance", "autoencoder/frechet_distance", "train/loss_g"} <= said
    for run in pair:
        assert f"{run.data.metrics['judge/frechet_distance']:.4g}" in said
        assert run.data.tags["generator.sha256"] in said


def test_charts_are_in_sections_and_the_experiment_explains_them(ui: str, browser: Chrome) -> None:
    browser.get("about:blank")  # another address of the same page would not be opened
    browser.get(f"{ui}?compareRunsMode=CHART")
    wait_for(browser, *SECTIONS)
    browser.find_element(By.XPATH, "//*[contains(text(), 'Generators of MNIST')]").click()
    wait_for(browser, "nats", "probability of being real", "metrics/evaluate.json", "One result is one run")


def test_the_first_screen_of_a_run_says_how_good_it_is(ui: str, browser: Chrome, pair: list[Run]) -> None:
    dcgan, _ = pair
    browser.get("about:blank")
    browser.get(f"{ui}/{dcgan.info.run_id}")
    wait_for(browser, "distance", "Description")
    said = browser.execute_script(
        """
        const seen = element => {
            const box = element.getBoundingClientRect();
            return !element.childElementCount && box.height > 0 && box.bottom <= window.innerHeight;
        };
        return [...document.querySelectorAll("*")].filter(seen).map(element => element.textContent).join(" ");
        """
    )
    quality = flatten(json.loads(artifact(dcgan, "metrics/evaluate.json").read_text()))
    for part in ("dcgan", str(Estimate.of(quality, "judge/frechet_distance")), digits(quality)):
        assert part in said
    # The sample grid follows in the description, below the first screen.
    pictures = "return [...document.images].filter(image => image.naturalWidth > 100).length"
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(pictures) > 0, "there is no sample grid")


def artifact(run: Run, path: str) -> Path:
    return Path(str(run.info.artifact_uri).removeprefix("file://"), path)
