"""MLflow's own pages tell GAN and DCGAN apart: real runs, a real server, headless Chromium."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from conftest import artifact, mlflow_process, uri_of
from mlflow import MlflowClient
from mlflow.entities import Run
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from mnist_gan.files import flatten
from mnist_gan.quality.panel import Estimate
from mnist_gan.report.summary import drawn
from mnist_gan.tracking import view

SECTIONS = ("train", "validation", "judge", "autoencoder", "best")


@pytest.fixture(scope="module")
def ui(published: Path) -> Iterator[str]:
    """The address of the experiment's runs."""
    with mlflow_process("ui", folder=published, program="mnist_gan") as (uri, _):
        yield f"{uri}/#/experiments/1/runs"


def test_the_command_says_where_to_look_and_starts_few_processes(
    published: Path, browser: Chrome, tmp_path: Path
) -> None:
    log = tmp_path / "said"
    with mlflow_process("ui", folder=published, program="mnist_gan", log=str(log)) as (uri, process):
        said = [line.rsplit(maxsplit=1) for line in log.read_text().splitlines() if uri in line]
        addresses = {name: address for name, address in said if address.startswith(f"{uri}/#")}
        assert list(addresses) == [view.TITLE, "dcgan 3 epochs seed 1"]
        for address in addresses.values():
            browser.get("about:blank")
            browser.get(address)
            wait_for(browser, "dcgan 3 epochs seed 1")
        assert len(psutil.Process(process.pid).children(recursive=True)) <= 3
        assert "Warning" not in log.read_text()


@pytest.fixture(scope="module")
def pair(published: Path) -> list[Run]:
    """A GAN and a DCGAN."""
    client = MlflowClient(uri_of(published))
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
    assert names == ["dcgan 3 epochs seed 0", "gan 2 epochs seed 0"]
    wait_for(browser, *names)
    for name in names:
        row = browser.find_element(By.XPATH, f"//div[@role='row'][.//*[normalize-space()='{name}']]")
        row.find_element(By.CSS_SELECTOR, "input[aria-label^='Press Space to toggle row selection']").click()
    browser.find_element(By.XPATH, "//button[normalize-space()='Compare']").click()

    wait_for(browser, "Comparing 2 Runs from 1 Experiment", *names)
    said = whole_text(browser)
    assert {"train.variant", "gan", "dcgan", "train.epochs", "2", "3"} <= said
    assert {"judge/frechet_distance", "autoencoder/frechet_distance", "train/loss_g"} <= said
    for run in pair:
        assert f"{run.data.metrics['judge/frechet_distance']:.4g}" in said
        assert run.data.tags["generator.sha256"] in said


def test_charts_are_in_sections_and_the_experiment_explains_them(ui: str, browser: Chrome) -> None:
    browser.get("about:blank")  # another address of the same page would not be opened
    browser.get(f"{ui}?compareRunsMode=CHART")
    wait_for(browser, *SECTIONS)
    browser.find_element(By.XPATH, "//*[contains(text(), 'Generators of images')]").click()
    wait_for(browser, "nats", "probability of being real", "metrics/evaluate.json", "One result is one run")


FIRST_SCREEN = """
const seen = element => {
    const box = element.getBoundingClientRect();
    return box.height > 0 && box.bottom <= window.innerHeight;
};
"""
"""Whether the whole of an element is on the screen that a page opens with."""


def first_screen(browser: Chrome) -> str:
    """The texts that are on the screen."""
    texts = '.filter(it => !it.childElementCount && seen(it)).map(it => it.textContent).join(" ")'
    return str(browser.execute_script(f'{FIRST_SCREEN} return [...document.querySelectorAll("*")]{texts}'))


def shows(count: str, browser: Chrome) -> bool:
    """Whether a script counts anything."""
    return int(browser.execute_script(count)) > 0


def test_the_first_screen_of_the_comparison_shows_pictures_losses_and_distances(
    ui: str, browser: Chrome, pair: list[Run]
) -> None:
    """The saved view of the experiment, as charts and as a table."""
    browser.get("about:blank")
    browser.get(f"{ui}?{view.QUERY}")
    wait_for(browser, *(str(run.info.run_name) for run in pair))
    grids = f"{FIRST_SCREEN} return [...document.images].filter(it => it.naturalWidth > 50 && seen(it)).length"
    curves = f'{FIRST_SCREEN} return [...document.querySelectorAll(".scatterlayer .trace")].filter(seen).length'
    for count in (grids, curves):
        WebDriverWait(browser, 60).until(partial(shows, count), count)

    browser.get("about:blank")
    browser.get(f"{ui}?{view.QUERY.replace('CHART', 'TABLE')}")
    wait_for(browser, "train.variant", "distance", "draws")
    said = first_screen(browser)
    for run in pair:
        quality = flatten(json.loads(artifact(run, "metrics/evaluate.json").read_text()))
        for part in (str(run.info.run_name), str(Estimate.of(quality, "judge/frechet_distance"))):
            assert part in said


def test_the_first_screen_of_a_run_says_how_good_it_is(ui: str, browser: Chrome, pair: list[Run]) -> None:
    dcgan, _ = pair
    browser.get("about:blank")
    browser.get(f"{ui}/{dcgan.info.run_id}")
    wait_for(browser, "distance", "Description")
    said = first_screen(browser)
    quality = flatten(json.loads(artifact(dcgan, "metrics/evaluate.json").read_text()))
    for part in ("dcgan", str(Estimate.of(quality, "judge/frechet_distance")), drawn(quality)):
        assert part in said
    # The sample grid follows in the description, below the first screen.
    pictures = "return [...document.images].filter(image => image.naturalWidth > 100).length"
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(pictures) > 0, "there is no sample grid")


def test_the_page_that_draws_runs_in_the_frame_of_an_artifact(ui: str, browser: Chrome, pair: list[Run]) -> None:
    browser.get("about:blank")
    browser.get(f"{ui}/{pair[0].info.run_id}/artifacts/plots/play.html")
    frame = WebDriverWait(browser, 60).until(lambda _: browser.find_element(By.CSS_SELECTOR, "iframe"))
    browser.switch_to.frame(frame)
    try:
        WebDriverWait(browser, 60).until(lambda _: "seed 0" in browser.find_element(By.ID, "caption").text)
        browser.find_element(By.ID, "new").click()
        assert "seed 0," not in browser.find_element(By.ID, "caption").text
        assert "right-click the picture" in text(browser)
        inked = "return draw(one(0)).data.filter((value, i) => i % 4 < 3 && value > 100).length"
        assert browser.execute_script(inked) > 30
    finally:
        browser.switch_to.default_content()
