"""Folders of images as people have them: letters of many fonts, on coloured ground if asked; views of hills.

``python tests/pictures.py FOLDER COUNT`` writes so many letters, with ``--views`` views: those of docs/own-images.md.
"""

import argparse
import string
from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = sorted(
    path
    for path in (Path(matplotlib.get_data_path()) / "fonts/ttf").glob("*.ttf")
    if path.name.startswith(("DejaVu", "STIXGeneral")) and "Display" not in path.name
)


def letters(
    count: int, size: int = 28, *, coloured: bool = False, names: str = string.ascii_uppercase
) -> Iterator[tuple[str, Image.Image]]:
    """``count`` letters by name, in turn: white on black or coloured on colours, slanted, scaled and moved."""
    random = np.random.default_rng(0)
    for number in range(count):
        name = names[number % len(names)]
        font = ImageFont.truetype(FONTS[random.integers(len(FONTS))], int(size * random.uniform(1.3, 2)))
        drawn = Image.new("L", (4 * size, 4 * size))
        ImageDraw.Draw(drawn).text((2 * size, 2 * size), name, fill=255, font=font, anchor="mm")
        slant, turn, high = random.normal(0, 0.15), random.normal(0, 0.12), random.uniform(0.8, 1.2)
        drift = random.normal(0, 0.08, 2) * size
        place = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, slant], [0, high]] * 2
        away = 2 * size - place @ [size / 2, size / 2] + drift
        row = (*place[0], away[0], *place[1], away[1])
        letter = drawn.transform((size, size), Image.Transform.AFFINE, row, Image.Resampling.BILINEAR)
        if coloured:
            ink, ground = (Image.new("RGB", letter.size, tuple(random.integers(low, low + 120, 3).tolist()))
                           for low in (130, 0))  # fmt: skip
            letter = Image.composite(ink, ground, letter)
        yield name, letter


def views(count: int, size: int = 48) -> Iterator[Image.Image]:
    """``count`` coloured pictures of two ranges of hills under a sky with a sun, no two alike."""
    random = np.random.default_rng(0)
    across, down = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    for _ in range(count):
        evening = random.uniform()
        sky = np.array([120 + 120 * evening, 160 - 60 * evening, 230 - 150 * evening])
        picture = sky + 60 * down[..., None]
        centre, radius = random.uniform(0.15, 0.85, 2) * [1, 0.5], random.uniform(0.05, 0.12)
        picture[(across - centre[0]) ** 2 + (down - centre[1]) ** 2 < radius**2] = [255, 235, 150]
        for depth in (0.55, 0.75):
            waves = random.uniform(2, 7, 3) * across[..., None] + random.uniform(0, 7, 3)
            ground = depth + 0.06 * np.sin(waves).sum(axis=2)
            green = np.array([40, 110, 50]) * (1.2 - depth) * 2 + random.uniform(-20, 20, 3)
            picture[down > ground] = green
        yield Image.fromarray((picture + random.normal(0, 5, picture.shape)).clip(0, 255).astype(np.uint8))


def write_folder(folder: Path, images: Iterable[tuple[str, Image.Image]], first: int = 0) -> Path:
    """Write ``images`` to ``folder``, which gets a folder for each name; files are numbered from ``first``."""
    for number, (name, image) in enumerate(images, first):
        (folder / name).mkdir(parents=True, exist_ok=True)
        image.save(folder / name / f"{number:05}.png")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--views", action="store_true", help="in place of letters")
    chosen = parser.parse_args()
    drawn = (("", view) for view in views(chosen.count)) if chosen.views else letters(chosen.count)
    write_folder(chosen.folder, drawn)
