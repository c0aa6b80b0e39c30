"""Show what the ruler reads on images whose faults are known: docs/calibration.md, and the numbers behind it.

The training images are dealt once more, at random: 50,000 play the training images that could be copied, 10,000 play
what a perfect generator draws, and these are spoiled in known ways.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, conv2d, grid_sample, interpolate, max_pool2d, pad

from mnist_gan.data.images import generate, to_uint8
from mnist_gan.data.prepared import Split, read_prepared
from mnist_gan.files import write_atomically
from mnist_gan.quality import ruler
from mnist_gan.quality.fresh import told_apart
from mnist_gan.quality.frozen import view
from mnist_gan.quality.guards import COPYING
from mnist_gan.quality.measures import Nearest
from mnist_gan.quality.panel import Measured
from mnist_gan.quality.ruler import Ruler
from mnist_gan.quality.sight import SPACES, Eyes
from mnist_gan.training import generators, hardware

UNSEEN = 10_000
PAGE = Path("docs/calibration.md")
NUMBERS = Path("docs/calibration.json")


@dataclass(frozen=True)
class Material:
    """What cases are made of."""

    unseen: Split
    training: Split
    look: Eyes

    @classmethod
    def of(cls, training: Split, unseen: int, look: Eyes) -> "Material":
        """Deal ``training`` at random: so many ``unseen`` images, and the rest."""
        order = torch.randperm(len(training.labels), generator=torch.Generator().manual_seed(1))
        few, rest = (Split(training.images[rows], training.labels[rows]) for rows in (order[:unseen], order[unseen:]))
        return cls(few, rest, look)

    def ruler(self, test: Split) -> Ruler:
        """The ruler that has the training images as those that could be copied."""
        return Ruler.of(self.look, test, self.training, len(self.unseen.labels), made_of="")


@dataclass(frozen=True)
class Case:
    """Images with a known fault."""

    name: str
    make: Callable[[Material], Tensor]
    """The images, uint8 ``[N, C, H, W]``, in no order."""
    faults: tuple[str, ...] = ()
    """The measures that must be worse than real images', each in one kind of space at least; all others may be."""
    sound: tuple[str, ...] = ()
    """The measures that must not be, in any."""
    fraud: bool = False
    """Whether it copies, repeats, omits or blurs, so that no such generator may be crowned over an honest one."""

    def judged(self, given: Material, made: Ruler, honest: Mapping[str, Nearest] | None = None) -> dict[str, Any]:
        """A row of the table: the measures, what must be seen, and what is.

        And from which part on such images are seen among those of an ``honest`` generator, if they are made of training
        images.
        """
        images = self.make(given)
        near = made.nearest(given.look, images)
        measured = made.compare(given.look(images), near)
        measured["told_apart"] = told_apart(images, made.test.images)
        seen = faults(measured, made)
        return {
            "case": self.name,
            "fraud": self.fraud,
            "faults": list(self.faults),
            "seen": sorted(seen),
            "passes": set(self.faults) <= seen and not seen & set(self.sound),
            **({"seen_from": seen_from(near, honest, made)} if honest and self.copies else {}),
            **ruler.tabulate(measured),
        }

    @property
    def copies(self) -> bool:
        """Whether it is made of training images."""
        return self.fraud and not set(COPYING) & set(self.sound)


def copied(part: float) -> Callable[[Material], Tensor]:
    """Unseen images, of which a ``part`` is replaced by training images."""

    def make(given: Material) -> Tensor:
        count = round(part * len(given.unseen.images))
        return shuffled(torch.cat([given.training.images[:count], given.unseen.images[count:]]))

    return make


def repeated(count: int) -> Callable[[Material], Tensor]:
    """The first ``count`` training images, drawn again and again."""

    def make(given: Material) -> Tensor:
        drawn = torch.randint(count, (len(given.unseen.images),), generator=torch.Generator().manual_seed(0))
        return given.training.images[drawn]

    return make


def digit_kept(digit: int, part: float) -> Callable[[Material], Tensor]:
    """Unseen images without all but a ``part`` of one digit's."""

    def make(given: Material) -> Tensor:
        rows = (given.unseen.labels == digit).nonzero().squeeze(1)
        keep = torch.ones(len(given.unseen.labels), dtype=torch.bool)
        keep[rows[round(part * len(rows)) :]] = False
        return shuffled(given.unseen.images[keep])

    return make


def one_kind(digit: int) -> Callable[[Material], Tensor]:
    """Unseen images, those of one digit replaced by the tenth of them that is nearest to one image in pixels."""

    def make(given: Material) -> Tensor:
        images, rows = given.unseen.images.clone(), (given.unseen.labels == digit).nonzero().squeeze(1)
        of_digit = images[rows].float()
        alike = (of_digit - of_digit[0]).square().sum(dim=(1, 2, 3)).argsort()[: len(rows) // 10]
        images[rows] = images[rows[alike[torch.arange(len(rows)) % len(alike)]]]
        return images

    return make


def noisy(spread: float, images: Callable[[Material], Tensor]) -> Callable[[Material], Tensor]:
    """With normal noise of so many grey levels."""

    def make(given: Material) -> Tensor:
        clean = images(given)
        noise = spread * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        return (clean + noise).round().clamp(0, 255).to(torch.uint8)

    return make


def blurred(part: float) -> Callable[[Material], Tensor]:
    """A ``part`` of the unseen images, blurred by the mean over 3 by 3 pixels; the rest as they are."""

    def make(given: Material) -> Tensor:
        count = round(part * len(given.unseen.images))
        soft = avg_pool2d(given.unseen.images[:count].float(), 3, stride=1, padding=1).round().to(torch.uint8)
        return shuffled(torch.cat([soft, given.unseen.images[count:]]))

    return make


def thick(given: Material) -> Tensor:
    """Each pixel the brightest of 3 by 3."""
    return max_pool2d(given.unseen.images.float(), 3, stride=1, padding=1).to(torch.uint8)


def thin(given: Material) -> Tensor:
    """Each pixel the darkest of 2 by 2; beyond the border it is black."""
    return (255 - max_pool2d(255 - pad(given.unseen.images.float(), (0, 1, 0, 1)), 2, stride=1)).to(torch.uint8)


def shifted(pixels: int, images: Callable[[Material], Tensor]) -> Callable[[Material], Tensor]:
    """Moved to the right."""
    return lambda given: images(given).roll(pixels, dims=3)


def bent(pixels: float, cells: int, images: Callable[[Material], Tensor]) -> Callable[[Material], Tensor]:
    """Bent smoothly: places are moved by normal random numbers of so many pixels, drawn on a grid of so many cells."""

    def make(given: Material) -> Tensor:
        flat = images(given)
        count, size = len(flat), flat.shape[-1]
        moves = pixels * torch.randn(count, 2, cells, cells, generator=torch.Generator().manual_seed(0))
        smooth = interpolate(moves, size, mode="bicubic", align_corners=True).movedim(1, 3)
        places = affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(flat.shape), align_corners=False)
        bent = grid_sample(flat.float(), places + smooth * 2 / size, align_corners=False)
        return bent.round().clamp(0, 255).to(torch.uint8)

    return make


def greyed(power: float, scale: float, images: Callable[[Material], Tensor]) -> Callable[[Material], Tensor]:
    """With each grey level, from 0 to 1, taken to a ``power`` and scaled."""
    return lambda given: (255 * scale * (images(given) / 255) ** power).round().to(torch.uint8)


def mirrored(given: Material) -> Tensor:
    """Training images, left and right exchanged."""
    return all_copied(given).flip(3)


def erased(pixels: int) -> Callable[[Material], Tensor]:
    """Training images without so many of the pixels of their strokes."""

    def make(given: Material) -> Tensor:
        images = all_copied(given)
        order = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) * (images > 64)
        least = order.flatten(1).topk(pixels, dim=1).values[:, -1].view(-1, 1, 1, 1)
        return images.where(order < least, 0)

    return make


def warped(turn: float = 0, stretch: float = 0, slant: float = 0, least: float = -1) -> Callable[[Material], Tensor]:
    """Training images, each by an affine map of its own around the middle of the image.

    Args:
        turn: degrees.
        stretch: of width and height, each by a part of its own.
        slant: pixels to the side for each pixel up.
        least: each image takes a part of these, drawn evenly from ``least`` to 1: 1 takes them whole.
    """

    def make(given: Material) -> Tensor:
        images = all_copied(given)
        parts = torch.empty(4, len(images)).uniform_(least, 1, generator=torch.Generator().manual_seed(0))
        angle, wide, high, aside = (torch.tensor([turn * torch.pi / 180, stretch, stretch, slant]) * parts.T).T
        turned = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
        shaped = torch.stack([1 + wide, aside, torch.zeros_like(aside), 1 + high], dim=1).view(-1, 2, 2)
        maps = torch.cat([turned @ shaped, torch.zeros(len(images), 2, 1)], dim=2)
        places = affine_grid(maps, list(images.shape), align_corners=False)
        return grid_sample(images.float(), places, align_corners=False).round().to(torch.uint8)

    return make


@torch.inference_mode()
def reconstructed(given: Material) -> Tensor:
    """Unseen images after a passage through the autoencoder."""
    passage = given.look.autoencoder
    return torch.cat([to_uint8(passage(view(batch, passage))) for batch in given.unseen.images.split(500)])


@torch.inference_mode()
def gaussian_codes(given: Material) -> Tensor:
    """Drawn from a Gaussian for each digit in the autoencoder's code: a generator that has learned two moments."""
    codes = given.look(given.unseen.images).features["autoencoder"]
    drawn, random = [], torch.Generator().manual_seed(0)
    for digit in range(10):
        of_digit = codes[given.unseen.labels == digit]
        root = torch.linalg.cholesky(torch.cov(of_digit.T) + 1e-4 * torch.eye(codes.shape[1]))
        drawn.append(of_digit.mean(dim=0) + torch.randn(of_digit.shape, generator=random) @ root.T)
    return shuffled(to_uint8(given.look.autoencoder.decoder(torch.cat(drawn))))


def blends(given: Material) -> Tensor:
    """The mean of each training image and the next of its digit: no copy of either."""
    images = []
    for digit in range(10):
        of_digit = given.training.images[given.training.labels == digit].float()
        images.append((of_digit + of_digit.roll(1, dims=0)) / 2)
    return shuffled(torch.cat(images).to(torch.uint8))[: len(given.unseen.images)]


def blended(part: float) -> Callable[[Material], Tensor]:
    """A ``part`` of each training image and the rest of the nearest other of its digit, in pixels."""

    def make(given: Material) -> Tensor:
        images, labels = all_copied(given), given.training.labels[: len(given.unseen.images)]
        blends = []
        for digit in range(10):
            of_digit = given.training.images[given.training.labels == digit].float().flatten(1)
            ours = images[labels == digit].float()
            others = torch.cdist(ours.flatten(1), of_digit).topk(2, largest=False).indices[:, 1]  # the first is itself
            blends.append(part * ours + (1 - part) * of_digit[others].view_as(ours))
        return shuffled(torch.cat(blends).round().to(torch.uint8))

    return make


def joined(given: Material) -> Tensor:
    """The left half of each training image beside the right half of the next of its digit."""
    images = []
    for digit in range(10):
        of_digit = given.training.images[given.training.labels == digit]
        images.append(torch.cat([of_digit, of_digit.roll(1, dims=0)], dim=3)[:, :, :, _halves(of_digit.shape[3])])
    return shuffled(torch.cat(images))[: len(given.unseen.images)]


def _halves(width: int) -> Tensor:
    """Columns of two images side by side: the first half of the first, the second half of the second."""
    return torch.cat([torch.arange(width // 2), torch.arange(width + width // 2, 2 * width)])


def mixed(*parts: Callable[[Material], Tensor]) -> Callable[[Material], Tensor]:
    """As many images of each kind."""

    def make(given: Material) -> Tensor:
        count = len(given.unseen.images) // len(parts)
        return shuffled(torch.cat([shuffled(part(given))[:count] for part in parts]))

    return make


def sharpened(given: Material) -> Tensor:
    """Strokes made harder: three times the contrast around grey."""
    kernel = torch.tensor([[[[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]]])
    return conv2d(given.unseen.images.float(), kernel, padding=1).clamp(0, 255).to(torch.uint8)


def shuffled(images: Tensor) -> Tensor:
    """In an order that says nothing."""
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(2))]


def all_copied(given: Material) -> Tensor:
    """Training images."""
    return given.training.images[: len(given.unseen.images)]


def unseen(given: Material) -> Tensor:
    """Unseen images: what a perfect generator draws."""
    return given.unseen.images


FEW = ("recall", "coverage")
COPIES, LEANS = ("copies",), ("nearest_in_training",)
FAR = ("frechet_distance",)
HONEST = (*COPIES, *LEANS)


def fraud(name: str, make: Callable[[Material], Tensor], *faults: str, sound: tuple[str, ...] = ()) -> Case:
    """A case that copies, repeats, omits or blurs."""
    return Case(name, make, faults, sound, fraud=True)


CASES = (
    Case("unseen real images", unseen, sound=("frechet_distance", *HONEST, "classes")),
    fraud("10% copies of training images", copied(0.1), *COPIES, sound=("frechet_distance", "recall")),
    fraud("50% copies", copied(0.5), *COPIES, sound=("frechet_distance", "recall")),
    fraud("100% copies", all_copied, *COPIES, *LEANS),
    fraud("copies with noise of 5 grey levels", noisy(5, all_copied), *COPIES, *LEANS),
    fraud("copies with noise of 20 grey levels", noisy(20, all_copied), *COPIES, *LEANS),
    fraud("copies at nine tenths of their grey", greyed(1, 0.9, all_copied), *COPIES, *LEANS),
    fraud("copies with a gamma of 0.8", greyed(0.8, 1, all_copied), *COPIES, *LEANS),
    fraud("copies with a gamma of 1.2", greyed(1.2, 1, all_copied), *COPIES, *LEANS),
    fraud("copies without eight pixels of their strokes", erased(8), *COPIES, *LEANS),
    fraud("copies moved by a pixel", shifted(1, all_copied), *COPIES, *LEANS),
    fraud("300 training images moved", shifted(2, repeated(300)), *COPIES, *LEANS, *FAR, *FEW),
    fraud("copies, blurred and repeated", mixed(all_copied, blurred(1.0), repeated(300)), *COPIES, *LEANS, *FAR),
    fraud("copies turned by up to 10 degrees", warped(turn=10), *COPIES, *LEANS),
    fraud("copies stretched by up to a tenth", warped(stretch=0.1), *COPIES, *LEANS),
    fraud("copies slanted by up to a fifth", warped(slant=0.2), *COPIES, *LEANS),
    fraud("copies all slanted by a fifth", warped(slant=0.2, least=1), *COPIES, *LEANS),
    fraud("copies all turned by 5 degrees", warped(turn=5, least=1), *COPIES, *LEANS, *FAR),
    fraud("copies all turned by 10 degrees", warped(turn=10, least=1), *LEANS, *FAR),
    fraud("copies bent by 0.25 pixels (4 by 4 cells)", bent(0.25, 4, all_copied), *COPIES, *LEANS),
    fraud("copies bent by 0.5 pixels", bent(0.5, 4, all_copied), *COPIES, *LEANS),
    fraud("copies bent by 1 pixel", bent(1, 4, all_copied), *COPIES, *LEANS),
    fraud("copies bent by 1 pixel (3 by 3 cells)", bent(1, 3, all_copied), *COPIES, *LEANS),
    fraud("copies bent by 1 pixel (8 by 8 cells)", bent(1, 8, all_copied), *LEANS),
    fraud("copies bent by 1.5 pixels", bent(1.5, 4, all_copied), *LEANS, *FAR),
    fraud("copies bent by 2 pixels", bent(2, 4, all_copied), *FAR),
    fraud("copies bent by 2 pixels (8 by 8 cells)", bent(2, 8, all_copied), *FAR),
    fraud("1,000 training images, bent by 1 pixel", bent(1, 4, repeated(1000)), *COPIES, *LEANS),
    fraud("300 training images, bent by 1 pixel", bent(1, 4, repeated(300)), *COPIES, *LEANS),
    fraud("copies mirrored", mirrored, *FAR),
    fraud("0.7 of an image and 0.3 of its nearest", blended(0.7), *COPIES, *LEANS),
    fraud("the mean of an image and its nearest", blended(0.5), *COPIES, *LEANS),
    fraud("the mean of two images", blends, *FAR, "precision"),
    Case("halves of two training images", joined, FAR),
    fraud("100 training images repeated", repeated(100), *COPIES, *LEANS, *FAR, *FEW),
    fraud("300 training images repeated", repeated(300), *COPIES, *LEANS, *FAR, *FEW),
    fraud("no 1", digit_kept(1, 0), *FAR, "classes", "coverage", sound=HONEST),
    Case("half of the 1s", digit_kept(1, 0.5), ("classes",), HONEST),
    fraud("one kind of 4", one_kind(4), "class_recall", "class_coverage", sound=HONEST),
    Case("thick strokes", thick, (*FAR, *FEW), HONEST),
    Case("thin strokes", thin, (*FAR, *FEW), HONEST),
    Case("hard strokes", sharpened, FAR, HONEST),
    fraud("half blurred", blurred(0.5), *FAR, sound=HONEST),
    fraud("all blurred", blurred(1.0), *FAR, *FEW, sound=HONEST),
    Case("moved by two pixels", shifted(2, unseen), FAR, HONEST),
    Case("noise of 5 grey levels", noisy(5, unseen), FAR, HONEST),
    Case("noise of 40 grey levels", noisy(40, unseen), (*FAR, "precision"), HONEST),
    Case("bent by 1 pixel", bent(1, 4, unseen), FAR, HONEST),
    Case("reconstructions", reconstructed, FAR, HONEST),
    Case("a Gaussian a digit", gaussian_codes, (*FAR, "precision"), HONEST),
)


def faults(measured: dict[str, Measured], made: Ruler) -> set[str]:
    """The measures that are worse than those of real images, beyond both intervals, in one kind of space at least."""
    floor = made.floor["interval"]
    found = set()
    for kind in SPACES:
        for name in ("frechet_distance", *COPYING):
            if measured[kind][name].low > floor[kind][name]["high"]:
                found.add(name)
        for name in ("precision", "recall", "coverage"):
            if measured[kind][name].high < floor[kind][name]["low"]:
                found.add(name)
        for name in ("recall", "coverage"):
            for digit, estimate in measured[f"{kind}_{name}"].items():
                if estimate.high < floor[f"{kind}_{name}"][digit]["low"]:
                    found.add(f"class_{name}")
    for label, share in measured["classes"].items():
        if share.high < floor["classes"][label]["low"] or share.low > floor["classes"][label]["high"]:
            found.add("classes")
    return found


def seen_from(images: Mapping[str, Nearest], honest: Mapping[str, Nearest], made: Ruler) -> float | None:
    """The least of PARTS that such ``images`` must be among those of an ``honest`` generator to be seen as copies."""
    floor = made.floor["interval"]
    for part in PARTS:
        found = made.copying({kind: mixture(part, images[kind], honest[kind]) for kind in SPACES})
        if any(found[kind][name].low > floor[kind][name]["high"] for kind in SPACES for name in COPYING):
            return part
    return None


def mixture(part: float, images: Nearest, honest: Nearest) -> Nearest:
    """As if a ``part`` of the ``honest`` images were such ``images``."""
    count = len(honest.trained)
    rows = round(part * count)
    return Nearest(*(torch.cat([getattr(images, name)[:rows], getattr(honest, name)[rows:]]) for name in vars(honest)))


PARTS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Of images that are made of training images, among those of an honest generator."""
SHOWN = ("frechet_distance", "precision", "recall", "coverage", "copies", "nearest_in_training")
WORDS = {
    "frechet_distance": "far",
    "copies": "copies",
    "nearest_in_training": "leans",
    "precision": "unlike",
    "recall": "few ways (recall)",
    "coverage": "few ways (coverage)",
    "classes": "digits' shares",
    "class_recall": "few ways of one digit (recall)",
    "class_coverage": "few ways of one digit (coverage)",
}
"""Of the faults."""


def page(content: dict[str, Any]) -> str:
    """The table in Markdown."""

    def cell(values: Mapping[str, Any], name: str) -> str:
        digits = {"frechet_distance": ".3g", "copies": ".3f", "nearest_in_training": ".3f"}.get(name, ".2f")
        return " / ".join(f"{values[kind][name]:{digits}}" for kind in SPACES)

    def row(name: str, values: Mapping[str, Any], said: Sequence[str]) -> str:
        told = " / ".join(f"{part:.2f}" for part in values["told_apart"].values())
        return f"| {' | '.join([name, *(cell(values, shown) for shown in SHOWN), told, *said])} |"

    def least(case: Mapping[str, Any]) -> str:
        seen = case.get("seen_from", 0)
        return "" if seen == 0 else f"{seen:.0%}" if seen else "never"

    measures = ("Fréchet distance", *SHOWN[1:5], "nearest is a training image", "told apart")
    titles = ("images", *measures, "copies seen from", "must be seen", "is seen", "")
    rows = [
        row(
            case["case"],
            case,
            (least(case), words(case["faults"]), words(case["seen"]), "yes" if case["passes"] else "**no**"),
        )
        for case in content["cases"]
    ]
    floor = row("*floor: draws of training images*", content["floor"], ("", "", "", ""))
    table = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|", floor, *rows]
    return INTRODUCTION.format(honest=content["honest"]) + "\n".join(table) + "\n"


def words(names: Sequence[str]) -> str:
    """Faults as they are called in the table."""
    return ", ".join(WORDS[name] for name in WORDS if name in names) or "nothing"


INTRODUCTION = f"""# Calibration

What the ruler reads on images whose faults are known. Each cell: by the five judges / by the autoencoder; "told apart":
by a fresh judge that is shown 32 / 16 / 8 pixels.
`python -m mnist_gan calibrate` makes this page and [its numbers](calibration.json), with an interval for each; a test
fails when a measure stops seeing what it saw.

The training images are dealt at random: 50,000 play the training images that could be copied, {UNSEEN:,} play what a
perfect generator draws, and these are spoiled. A fault is seen where a measure's 95% interval and that of the floor are
apart, in one kind of space at least. The last column says whether all that must be seen is, and nothing that must not.
"Copies seen from": the least of 2, 5, 10, 25, 50 and 100% that such images must be among those of {{honest}} for
`copies` or `nearest_in_training` to see them.

"""


def main() -> None:
    """Measure every case, write the page and its numbers."""
    options = parser().parse_args()
    hardware.configure()
    generated = [trained(name, path) for name, path in options.generators]
    given = Material.of(read_prepared("train"), UNSEEN, Eyes())
    made = given.ruler(read_prepared("test"))
    honest = (generated or CASES)[-1 if generated else 0]
    near_honest = made.nearest(given.look, honest.make(given))
    rows = []
    for case in (*CASES, *generated):
        rows.append(case.judged(given, made, near_honest))
        print(f"{case.name}: {'passes' if rows[-1]['passes'] else 'fails'}: {words(rows[-1]['seen'])}", flush=True)
    content = {"floor": made.floor, "honest": honest.name, "cases": rows}
    write_atomically(NUMBERS, (json.dumps(content, indent=1) + "\n").encode())
    write_atomically(PAGE, page(content).encode())


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m mnist_gan calibrate", description=__doc__)
    made.add_argument(
        "generators",
        nargs="*",
        type=name_and_path,
        metavar="NAME=FILE",
        help="generators to measure as well, as models/generator has them; frauds are mixed with the last one's images",
    )
    return made


def name_and_path(text: str) -> tuple[str, Path]:
    """``GAN=file`` as its two parts; raises ArgumentTypeError for anything else."""
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name with its file, such as GAN=models/generator/x.safetensors"
        )
    return name, Path(path)


def trained(name: str, path: Path) -> Case:
    """The images of a generator in a file, which may be so good that no fault is seen."""
    checkpoint = generators.read(path)
    latents = torch.randn(UNSEEN, checkpoint.origin.latent_dim, generator=torch.Generator().manual_seed(0))
    return Case(name, lambda _: generate(checkpoint.generator, latents), sound=HONEST)
