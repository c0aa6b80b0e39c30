"""The page that draws with a generator, in headless Chromium: the same images as torch's, and all of its controls."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from torch import Tensor, nn

from mnist_gan import variants
from mnist_gan.config import VARIANTS, load
from mnist_gan.data.images import generate
from mnist_gan.data.prepared import DIGITS, Classes
from mnist_gan.stages import _play
from mnist_gan.training.generators import Checkpoint, Origin

PIXELS = "return Array.from({length: arguments[1]}, (_, i) => [...draw(one(arguments[0] + i)).data].join(' '))"
"""The red, green, blue and opacity of each pixel of the images of so many seeds from one on."""


def checkpoint(generator: nn.Module, shape: tuple[int, int, int], latent_dim: int, classes: Classes) -> Checkpoint:
    origin = Origin(
        variant="own", image_shape=shape, shared={"latent_dim": latent_dim}, options={}, record=(), data_sha256="",
        environment={}, classes=classes,
    )  # fmt: skip
    return Checkpoint(generator.eval(), origin, 1, 1)


def untrained(name: str, shape: tuple[int, int, int], latent_dim: int, classes: Classes = DIGITS) -> Checkpoint:
    """A generator of the variant ``name`` whose normalisations have seen images, as those of a trained one have."""
    torch.manual_seed(0)
    options = variants.parse(name, load().variants[name])
    generator = variants.build(name, options, latent_dim, shape, len(classes.names)).generator
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
    for _ in range(20):
        generator(torch.randn(64, latent_dim))
    return checkpoint(generator, shape, latent_dim, classes)


def drawn_by_torch(final: Checkpoint, first: int, count: int) -> Tensor:
    seeds = (torch.Generator().manual_seed(seed) for seed in range(first, first + count))
    latents = torch.stack([torch.randn(final.origin.latent_dim, generator=seed) for seed in seeds])
    return generate(final.generator, latents)


def drawn_by_page(browser: Chrome, shape: tuple[int, int, int], first: int, count: int) -> Tensor:
    channels, height, width = shape
    images = browser.execute_script(PIXELS, first, count)
    pixels = torch.tensor([list(map(int, image.split())) for image in images]).view(count, height, width, 4)
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :channels].permute(0, 3, 1, 2)


def opened(browser: Chrome, folder: Path, final: Checkpoint, seen: list[int]) -> str:
    page = folder / "play.html"
    page.write_text(_play.page(final, "a generator", seen))
    browser.get(page.as_uri())
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return page.read_text()


@pytest.mark.parametrize(
    ("name", "shape", "latent_dim", "count"),
    [
        *((name, (1, 16, 16), 100, 30) for name in VARIANTS if name != "cr3gan"),
        ("cr3gan", (1, 16, 16), 100, 1000),
        ("cr3gan", (3, 32, 32), 7, 10),
        ("dcgan", (3, 48, 48), 17, 2),
    ],
)
def test_the_page_draws_what_torch_draws(
    workspace: Path, browser: Chrome, name: str, shape: tuple[int, int, int], latent_dim: int, count: int
) -> None:
    """To one grey level, from the same seeds: those of the Mersenne Twister count modulo 2**32."""
    final = untrained(name, shape, latent_dim)
    html = opened(browser, workspace, final, [0] * 10)
    for first in (0, 2**32 - 1, 2**53 - 5):
        some = count if first == 0 else 2
        ours, theirs = drawn_by_page(browser, shape, first, some), drawn_by_torch(final, first, some).int()
        assert (ours - theirs).abs().max() <= 1
        assert theirs.float().std() > 5
    assert "http" not in html.replace("http-equiv", "")


class Doubled(nn.Module):
    """No chain of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(20, 256)

    def forward(self, latents: Tensor) -> Tensor:
        values: Tensor = self.layer(latents) + latents.sum()
        return values.tanh().view(-1, 1, 16, 16)


class Reversed(nn.Sequential):
    """Its layers are in another order than they are computed in."""

    def forward(self, latents: Tensor) -> Tensor:
        values: Tensor = self[0](self[1](latents))
        return values


@pytest.mark.parametrize(
    ("generator", "reason"),
    [
        (nn.Sequential(nn.Linear(20, 256), nn.Softplus(), nn.Unflatten(1, (1, 16, 16))), "does not know: Softplus"),
        (
            nn.Sequential(nn.Linear(20, 64), nn.Unflatten(1, (1, 8, 8)), nn.Upsample(scale_factor=2)),
            "know: Upsample",
        ),
        (Doubled(), "it computes sum_1"),
        (Reversed(nn.Linear(20, 20), nn.Tanh()), "its layers are no chain"),
        (nn.Sequential(nn.Linear(20, 20_000), nn.Linear(20_000, 256), nn.Unflatten(1, (1, 16, 16))), "take 11 MB"),
    ],
)
def test_what_the_page_cannot_draw_is_a_line_on_it(
    browser: Chrome, tmp_path: Path, generator: nn.Module, reason: str
) -> None:
    html = opened(browser, tmp_path, checkpoint(generator, (1, 16, 16), 20, DIGITS), [0] * 10)
    said = str(browser.execute_script("return document.body.innerText"))
    assert "This page cannot draw with this generator: " in said
    assert reason in said
    assert "Draw another" not in said
    assert len(html) < 50_000


@pytest.fixture
def letters(workspace: Path, browser: Chrome) -> Iterator[Checkpoint]:
    """A page whose generator is told the class."""
    final = untrained("cr3gan", (1, 16, 16), 20, Classes("class", ("A", "it's <B>")))
    opened(browser, workspace, final, [])
    yield final
    browser.get("about:blank")


def caption(browser: Chrome) -> str:
    return browser.find_element(By.ID, "caption").text


def press(browser: Chrome, name: str) -> None:
    browser.find_element(By.XPATH, f'//button[normalize-space()="{name}"]').click()


def shown(browser: Chrome) -> Tensor:
    """Grey levels of the large picture ``[16, 16]``."""
    data = browser.execute_script(
        "const c = document.getElementById('picture'); return [...c.getContext('2d').getImageData(0, 0, 16, 16).data]"
    )
    return torch.tensor(data).view(16, 16, 4)[..., 0]


def test_a_class_is_chosen_and_what_is_shown_is_what_the_model_serves(browser: Chrome, letters: Checkpoint) -> None:
    press(browser, "it's <B>")
    assert caption(browser).endswith(", class it's <B>")
    seed = int(caption(browser).split()[1].rstrip(","))
    first = caption(browser)
    press(browser, "Draw another (N)")
    assert caption(browser) != first
    browser.find_element(By.TAG_NAME, "body").send_keys("n")
    assert caption(browser).endswith(", class it's <B>")

    generator = letters.generator
    assert isinstance(generator, variants.Conditional)
    latents = torch.randn(20, generator=torch.Generator().manual_seed(seed))[None]
    served = generate(letters.generator, generator.of_class(torch.tensor([1]), latents))[0, 0].int()
    script = "show(document.getElementById('picture'), draw(one(arguments[0], 1)))"
    browser.execute_script(script, seed)
    assert (shown(browser) - served).abs().max() <= 1


def test_sliders_lead_to_another_picture_and_to_the_mean_one(browser: Chrome, letters: Checkpoint) -> None:
    def slide(name: str, key: str, times: int) -> Tensor:
        for _ in range(times):
            browser.find_element(By.ID, name).send_keys(key)
        return shown(browser)

    start = shown(browser)
    there = browser.execute_script("return [...draw(state.there).data]")
    end = slide("way", Keys.END, 1)
    assert torch.equal(end, torch.tensor(there).view(16, 16, 4)[..., 0])
    assert "100% of the way to seed 1" in caption(browser)
    between = slide("way", Keys.ARROW_LEFT, 30)
    assert not torch.equal(between, end)
    assert torch.equal(slide("way", Keys.HOME, 1), start)
    assert "way" not in caption(browser)
    calm = slide("noise", Keys.HOME, 1)
    assert not torch.equal(calm, start)
    press(browser, "Draw another (N)")
    same = browser.execute_script("return labelOf(state.here.seed)") == browser.execute_script("return labelOf(0)")
    assert torch.equal(shown(browser), calm) == same


def test_a_hundred_are_drawn_and_one_is_chosen(browser: Chrome, letters: Checkpoint) -> None:
    browser.find_element(By.TAG_NAME, "body").send_keys("w")
    WebDriverWait(browser, 60).until(lambda _: "pictures a second" in browser.find_element(By.ID, "speed").text)
    tiles = browser.find_elements(By.CSS_SELECTOR, "#wall button")
    assert len(tiles) == 100
    tiles[57].click()
    assert caption(browser) == tiles[57].get_attribute("aria-label")


def test_a_picture_is_saved_under_its_seed(browser: Chrome, letters: Checkpoint, tmp_path: Path) -> None:
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    seed = browser.find_element(By.ID, "seed")
    seed.clear()
    seed.send_keys("12345", Keys.ENTER)
    press(browser, "Save as PNG")
    WebDriverWait(browser, 30).until(lambda _: list(tmp_path.glob("seed-12345-class-*.png")))
    (path,) = tmp_path.glob("*.png")
    saved = torch.from_numpy(np.array(Image.open(path).convert("L")))
    assert (saved - drawn_by_torch(letters, 12345, 1)[0, 0].int()).abs().max() <= 1


def test_a_generator_that_is_told_nothing_is_asked_for_what_the_judges_saw(workspace: Path, browser: Chrome) -> None:
    opened(browser, workspace, untrained("gan", (1, 16, 16), 100), [3, 7, 3, 3, 7])
    press(browser, "7")
    assert caption(browser) == "seed 1, digit 7"
    press(browser, "Draw another (N)")
    assert caption(browser) == "seed 4, digit 7"
    press(browser, "5")
    assert caption(browser) == "Among the first 5 seeds there is no digit 5."
