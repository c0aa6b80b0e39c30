"""A folder of images, one folder a class (torchvision's ImageFolder convention) or none, as the tensors of a data set.

``look`` reads every image once and finds all that stands in the way; ``Found.pack`` makes one size of them.
"""

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mnist_gan import stops
from mnist_gan.data.sets import Noun
from mnist_gan.errors import UserError

LARGEST = 64
"""Pixels a side that images are kept in at the most: no larger ones are trained on."""
SMALLEST = 8
"""Pixels of an image's shorter side."""
FEWEST = 300
"""Different images that a generator can be trained on."""
MOST_CLASSES = 1000
KINDS = 20
"""Kinds that images without classes are dealt into, at the most."""
OF_A_KIND = 50
"""Images of each, on average, at the least."""
DEALT_IN = 16
"""Pixels a side that are looked at for that: what is drawn, not its edges."""
LEARNED_FROM = 20_000
"""Images that say which kinds there are."""
TEST_PART = 6
"""One image in so many is a test image."""
NAMED = 5
"""Files that a message names at the most."""


class Looked(NamedTuple):
    """One image, read."""

    pixels: Image.Image
    """The middle square, LARGEST pixels a side at the most."""
    content: bytes
    """SHA-256 of all pixels before anything was cut off: equal images have equal ones."""
    grey: bool
    """Whether it has no colour."""
    size: tuple[int, int]
    """Width and height before anything was cut off."""
    notes: tuple[str, ...]
    """What was done to it, in words."""


@dataclass
class Found:
    """What is in a folder."""

    classes: list[str] = field(default_factory=list)
    """Folders' names, by label; those of kinds are numbers."""
    noun: Noun = "class"
    images: list[Looked] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Files whose names are not those of images."""
    unreadable: list[str] = field(default_factory=list)
    """Files that are called images and cannot be read, with the reason."""

    @property
    def side(self) -> int:
        """Pixels a side of the packed images: the middle of all, LARGEST at the most."""
        return round(median(image.pixels.width for image in self.images))

    @property
    def grey(self) -> bool:
        """Whether no image has a colour."""
        return all(image.grey for image in self.images)

    @property
    def names(self) -> list[str]:
        """The classes as metrics of MLflow can be called: other signs are ``_``, and equal names are numbered."""
        made: list[str] = []
        for name in self.classes:
            plain = re.sub(r"[^\w .:-]", "_", name, flags=re.ASCII).strip() or "_"
            same = [other for other in made if re.fullmatch(rf"{re.escape(plain)}(_\d+)?", other)]
            made.append(f"{plain}_{len(same) + 1}" if same else plain)
        return made

    def deal(self) -> None:
        """Put kinds in the place of classes: groups of images that look alike, the largest first.

        They are those of k-means (Lloyd 1982, IEEE Transactions on Information Theory 28) on the pixels of training
        images, as many as leave each kind images of both sides.
        """
        from sklearn.cluster import KMeans  # a second, for images without classes alone

        size, mode = (DEALT_IN, DEALT_IN), "L" if self.grey else "RGB"
        small = (image.pixels.convert(mode).resize(size, Image.Resampling.BOX) for image in self.images)
        pixels = np.stack([np.asarray(one, np.float32).ravel() / 255 for one in small])
        learned = np.flatnonzero(~np.array(self.tests))
        chosen = np.random.default_rng(0).permutation(learned)[:LEARNED_FROM]
        for count in range(min(KINDS, len(self.images) // OF_A_KIND), 0, -1):
            stops.check()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # where fewer look different: fewer kinds are tried next
                dealt = KMeans(count, n_init=1, random_state=0).fit(pixels[chosen]).predict(pixels)
            order = np.argsort(-np.bincount(dealt, minlength=count), kind="stable")
            self.classes = [f"{number:0{len(str(count))}}" for number in range(1, count + 1)]
            self.labels = np.argsort(order)[dealt].tolist()
            if self.thin() is None:
                return

    def thin(self) -> tuple[str, int, int] | None:
        """A class that has too few images, with the number of its training and of its test images."""
        sides = Counter(zip(self.labels, self.tests, strict=True))
        for label, name in enumerate(self.classes):
            learned, held = sides[label, False], sides[label, True]
            if learned < 2 or not held:
                return name, learned, held
        return None

    @property
    def tests(self) -> list[bool]:
        """Which images are test images: by their content, so that no image added later moves another."""
        return [int.from_bytes(image.content[:8]) % TEST_PART == 0 for image in self.images]

    def pack(self) -> dict[str, Tensor]:
        """The images uint8 ``[N, C, side, side]``, labels ``[N]``, and which are test images ``[N]``."""
        side, mode = self.side, "L" if self.grey else "RGB"
        pixels = np.empty((len(self.images), side, side, 1 if self.grey else 3), np.uint8)
        for number, image in enumerate(self.images):
            stops.check()
            square = image.pixels.convert(mode)
            if square.width != side:
                square = square.resize((side, side), Image.Resampling.BILINEAR)
            pixels[number] = np.asarray(square).reshape(side, side, -1)
        labels = torch.tensor(self.labels, dtype=torch.uint8 if len(self.classes) <= 256 else torch.int16)
        return {
            "images": torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
            "labels": labels,
            "test": torch.tensor(self.tests),
        }


def files_of(folder: Path, *, labelled: bool = True) -> tuple[list[tuple[str, Path]], list[str]]:
    """The images in ``folder``, each with the name of its class, in order; and the files that are none, by name.

    Images that lie in no class folders have no class: an empty name. They may lie beside class folders only where the
    classes do not count.

    Raises:
        UserError: it is not a folder of class folders, nor one of images.
    """
    here = shown(str(folder))
    if not folder.exists():
        raise UserError(f"{here} does not exist")
    if not folder.is_dir():
        raise UserError(f"{here} is a file; give the folder that has the images")
    suffixes = set(Image.registered_extensions())
    found: list[tuple[str, Path]] = []
    left_out: list[str] = []
    loose: list[tuple[str, Path]] = []
    deep: list[str] = []
    try:
        for entry in sorted(folder.iterdir()):
            if not entry.is_dir():
                if _is_image(entry, suffixes):
                    loose.append(("", entry))
                else:
                    left_out.append(entry.name)
                continue
            if entry.name.startswith("."):
                left_out.append(f"{entry.name}/")
                continue
            for path in sorted(entry.iterdir()):
                inside = f"{entry.name}/{path.name}"
                if path.is_dir() and not path.name.startswith("."):
                    deep.append(f"{inside}/")
                elif _is_image(path, suffixes):
                    found.append((entry.name, path))
                else:
                    left_out.append(inside)
    except OSError as error:
        raise UserError(f"{here} cannot be read: {error.strerror}: {shown(str(error.filename))}") from None
    if deep:
        raise UserError(f"{here}: class folders hold folders: {some(deep)}; give each class one folder of images")
    if loose and found and labelled:
        beside = some(path.name for _, path in loose)
        raise UserError(f"{here}: images lie beside the class folders: {beside}; move each into one")
    if not found and not loose:
        raise UserError(f"{here} has no images, in class folders or without")
    return found + loose, left_out


def look(files: Iterable[tuple[str, Path]], *, labelled: bool = True) -> Found:
    """Read all images of ``files``, class and path of each; the classes count only where they are ``labelled``."""
    found = Found()
    for name, path in files:
        stops.check()
        try:
            image = read(path)
        except UserError as error:
            found.unreadable.append(f"{Path(name, path.name)} ({error})")
            continue
        of_class = name if labelled else ""
        if of_class not in found.classes[-1:]:
            found.classes.append(of_class)
        found.images.append(image)
        found.labels.append(len(found.classes) - 1)
    if found.classes == [""]:
        found.noun = "kind"
    return found


def refuse(folder: Path, found: Found) -> None:
    """Raise a UserError where no good data set can be made of what was ``found``."""
    here, classes = shown(str(folder)), found.classes
    if not found.images:
        raise UserError(f"{here} has no image that can be read")
    if found.noun == "class" and len(classes) < 2:
        raise UserError(f"{here} has one class, {shown(classes[0])}; it takes two, or --no-labels")
    if len(classes) > MOST_CLASSES:
        raise UserError(f"{here} has {len(classes)} classes; {MOST_CLASSES} are the most")
    different = {image.content for image in found.images}
    if len(different) < FEWEST:
        equal = f", {len(different)} different ones" if len(different) < len(found.images) else ""
        raise UserError(f"{here} has {len(found.images)} images{equal}; {FEWEST} different ones are the fewest")
    if thin := found.thin():
        name, learned, held = thin
        raise UserError(
            f"{here}: {found.noun} {shown(name)} has {learned} training and {held} test images, which their content "
            "decides; it takes some 30 images, or leave the class out"
        )


def read(path: Path) -> Looked:
    """The image at ``path``.

    Raises:
        UserError: it cannot be read whole, or is too small.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that is odd; what cannot be read is an error all the same
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                opened.load()
                notes = ["first picture of an animation"] if getattr(opened, "n_frames", 1) > 1 else []
                turned = ImageOps.exif_transpose(opened)
                notes += ["turned as its camera says"] if turned.size != opened.size else []
                plain, note = _plain(turned)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError("it has more pixels than a picture should") from None
    except UnidentifiedImageError:
        raise UserError("it is no image") from None
    except UserError:
        raise
    except Exception as error:  # Pillow's readers fail in many ways
        raise UserError(" ".join(str(error).split()) or type(error).__name__) from None
    if min(plain.size) < SMALLEST:
        raise UserError(f"{plain.width}x{plain.height} pixels; {SMALLEST} a side are the fewest")
    content = hashlib.sha256(f"{plain.width} {plain.height} ".encode() + plain.tobytes()).digest()
    side = min(plain.size)
    left, top = (plain.width - side) // 2, (plain.height - side) // 2
    square = plain.crop((left, top, left + side, top + side))
    if square.width > LARGEST:
        square = square.resize((LARGEST, LARGEST), Image.Resampling.BILINEAR)
    red, green, blue = (np.asarray(band) for band in square.split())
    grey = bool((red == green).all() and (green == blue).all())
    return Looked(square.convert("L") if grey else square, content, grey, plain.size, (*notes, *note))


def _plain(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """``image`` in red, green and blue, and what was done."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float64)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise UserError("its values are no grey levels of 8 or 16 bits")
        grey = Image.fromarray((values / 257).round().astype(np.uint8))
        return grey.convert("RGB"), ["16 bits a pixel, of which the upper 8 count"]
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB"), ["transparent, put on white"]
    note = [] if image.mode in ("1", "L", "RGB", "P") else [f"{image.mode} turned to red, green and blue"]
    return image.convert("RGB"), note


def _is_image(path: Path, suffixes: set[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def some(names: Iterable[str]) -> str:
    """The first of ``names``, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(shown(name) for name in listed[:NAMED]) + more


def shown(name: str) -> str:
    """A file's name in one line, whatever signs are in it."""
    return name if name.isprintable() else repr(name)


def report(found: Found) -> Iterator[str]:
    """What there is and what becomes of it, line by line."""
    counts, tests = Counter(found.labels), sum(found.tests)
    sizes, notes = (
        Counter(image.size for image in found.images),
        Counter(note for image in found.images for note in image.notes),
    )
    (least, least_label), (most, most_label) = (
        choose((count, label) for label, count in counts.items()) for choose in (min, max)
    )
    if found.noun == "kind":
        yield f"{len(found.images):,} images without classes, dealt into {len(found.classes)} kinds by their looks"
    else:
        yield f"{len(found.images):,} images in {len(found.classes)} classes"
    if len(found.classes) <= 30:
        yield "  " + ", ".join(f"{shown(name)} {counts[label]:,}" for label, name in enumerate(found.classes))
    else:
        fewest, largest = shown(found.classes[least_label]), shown(found.classes[most_label])
        yield f"  from {least:,} of {fewest} to {most:,} of {largest}"
    renamed = [f"{shown(old)} is {new}" for old, new in zip(found.classes, found.names, strict=True) if old != new]
    if renamed:
        yield f"  in MLflow's names: {some(renamed)}"
    common = ", ".join(f"{width}x{height} ({count:,})" for (width, height), count in sizes.most_common(3))
    yield f"sizes: {common}{f' and {len(sizes) - 3} more' if len(sizes) > 3 else ''}"
    cut = "the middle square of each, " if any(width != height for width, height in sizes) else ""
    colour = "grey, as none has a colour" if found.grey else "in colour"
    yield f"kept as: {cut}{found.side}x{found.side} pixels, {colour}"
    for note, count in notes.items():
        yield f"{count:,} x {note}"
    copies = Counter(image.content for image in found.images)
    if doubles := len(found.images) - len(copies):
        labels: dict[bytes, set[int]] = {}
        for image, label in zip(found.images, found.labels, strict=True):
            labels.setdefault(image.content, set()).add(label)
        torn = sum(len(of) > 1 for of in labels.values())
        yield f"{doubles:,} are exact copies of others; they stay, on the side of the original" + (
            f"; {torn:,} images are in more than one class" if torn else ""
        )
    if found.left_out:
        yield f"left out, as no images: {some(found.left_out)}"
    if found.unreadable:
        yield f"left out, as told: {some(found.unreadable)}"
    yield f"training images: {len(found.images) - tests:,}; test images, by their content: {tests:,}"


def name_of(folder: Path) -> str:
    """A data set's name made of the folder's."""
    plain = re.sub(r"[^\w.-]+", "-", folder.resolve().name, flags=re.ASCII).strip("-._")
    return plain or "images"
