"""A folder of images is read as it should be, or refused in one line that names what is wrong."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import read_split
from pictures import letters, write_folder
from PIL import Image
from sklearn.datasets import load_digits

from mnist_gan.commands import _folder as folders
from mnist_gan.commands._folder import Found, files_of, look, read, refuse, report
from mnist_gan.data.images import resize
from mnist_gan.data.prepared import Split
from mnist_gan.errors import UserError


def found_in(folder: Path, *, labelled: bool = True) -> Found:
    files, left_out = files_of(folder, labelled=labelled)
    found = look(files, labelled=labelled)
    found.left_out = left_out
    return found


@pytest.fixture(scope="module")
def letter_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("letters"), letters(520))


def test_letters_become_tensors(letter_folder: Path) -> None:
    found = found_in(letter_folder)
    refuse(letter_folder, found)
    packed = found.pack()
    assert packed["images"].shape == (520, 1, 28, 28)
    assert found.names == [chr(ord("A") + number) for number in range(26)]
    assert packed["labels"].bincount().tolist() == [20] * 26
    assert 50 < packed["test"].sum() < 130
    said = "\n".join(report(found))
    for part in ("520 images in 26 classes", "A 20, B 20", "28x28 (520)", "28x28 pixels, grey", "test images"):
        assert part in said


def test_images_without_classes_are_dealt_into_kinds(tmp_path: Path) -> None:
    """Kinds are what a person would call so, in class folders that do not count or in none; the largest comes first."""
    drawn = [*letters(200, names="IO"), *letters(400, names="O")]
    labelled = write_folder(tmp_path / "labelled", drawn)
    loose = tmp_path / "loose"
    loose.mkdir()
    for number, (_, letter) in enumerate(drawn):
        letter.save(loose / f"{number:05}.png")
    for folder in (labelled, loose):
        found = found_in(folder, labelled=False)
        refuse(folder, found)
        found.deal()
        assert (found.noun, found.thin()) == ("kind", None)
        assert next(report(found)) == "600 images without classes, dealt into 12 kinds by their looks"
        counts = np.bincount(found.labels)
        assert list(counts) == sorted(counts, reverse=True)
        assert found.names[:2] == ["01", "02"]
        names = [path.parent.name for _, path in files_of(labelled)[0]] if folder is labelled else [n for n, _ in drawn]
        truth = np.array([name == "I" for name in names])
        kinds = np.array(found.labels)
        sure = sum(max(truth[kinds == kind].sum(), (~truth[kinds == kind]).sum()) for kind in range(len(counts)))
        assert sure / len(kinds) > 0.95


def test_classes_that_do_not_count_may_lie_beside_loose_images(tmp_path: Path) -> None:
    mixed(tmp_path)
    assert len(found_in(tmp_path, labelled=False).images) == 40


def test_pictures_that_all_look_alike_are_one_kind(tmp_path: Path) -> None:
    """In 16 pixels they are equal, and nothing is warned of."""
    for number in range(320):
        picture = Image.new("L", (64, 64), 99)
        picture.putpixel((number % 64, number // 64), 100)
        picture.save(tmp_path / f"{number}.png")
    found = found_in(tmp_path)
    refuse(tmp_path, found)
    found.deal()
    assert found.classes == ["1"]


def test_loose_images_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="has no image that can be read"):
        refuse(tmp_path, found_in(tmp_path))


def test_scikit_learns_digits_of_eight_pixels(tmp_path: Path) -> None:
    digits = load_digits()
    scaled = (digits.images * 255 / 16).round().astype(np.uint8)
    written = ((str(label), Image.fromarray(image)) for image, label in zip(scaled, digits.target, strict=True))
    found = found_in(write_folder(tmp_path, written))
    refuse(tmp_path, found)
    packed = found.pack()
    assert packed["images"].shape == (1797, 1, 8, 8)
    kept = {(image.tobytes(), label) for image, label in zip(scaled, digits.target, strict=True)}
    taken = zip(packed["images"].numpy(), packed["labels"].tolist(), strict=True)
    assert {(image.tobytes(), label) for image, label in taken} == kept


def test_mnist_written_out_is_mnist(tmp_path: Path, mnist: Path) -> None:
    """The bytes of the prepared tensors, where the split is MNIST's."""
    from mnist_gan.data import raw

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(mnist)
        test = raw.read_raw("test")
    count = 600
    for number in range(count):
        place = tmp_path / str(test.labels[number].item())
        place.mkdir(exist_ok=True)
        Image.fromarray(test.images[number, 0].numpy()).save(place / f"{number:05}.png")
    packed = found_in(tmp_path).pack()
    order = torch.tensor([int(path.stem) for _, path in files_of(tmp_path)[0]])
    prepared = read_split(mnist, "test")
    expected = Split(prepared.images[:count][order], prepared.labels[:count][order])
    assert torch.equal(resize(packed["images"], 32, 1), expected.images)
    assert torch.equal(packed["labels"], expected.labels)


def test_an_image_that_is_added_moves_no_other(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, letters(520))
    before = found_in(folder)
    sides = dict(zip([image.content for image in before.images], before.tests, strict=True))
    write_folder(folder, letters(30, size=40), first=1000)
    after = found_in(folder)
    assert len(after.images) > len(before.images)
    for image, side in zip(after.images, after.tests, strict=True):
        assert sides.get(image.content, side) == side


def test_equal_images_lie_on_one_side_whatever_their_files_are(tmp_path: Path) -> None:
    for number, (name, letter) in enumerate(letters(520)):
        (tmp_path / name).mkdir(exist_ok=True)
        letter.save(tmp_path / name / f"{number}.png")
        letter.convert("RGB").save(tmp_path / name / f"{number}.bmp")
    found = found_in(tmp_path)
    by_content: dict[bytes, set[bool]] = {}
    for image, side in zip(found.images, found.tests, strict=True):
        by_content.setdefault(image.content, set()).add(side)
    assert len(by_content) <= 520 < len(found.images)
    assert all(len(sides) == 1 for sides in by_content.values())
    assert "are exact copies of others" in "\n".join(report(found))


def a_png(**changes: int) -> bytes:
    """A small image; ``width`` and ``height`` are what its head says."""
    buffer = io.BytesIO()
    Image.new("L", (20, 20), 99).save(buffer, "PNG")
    content = buffer.getvalue()
    head = struct.pack(">II", changes.get("width", 20), changes.get("height", 20)) + content[24:29]
    return content[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + content[33:]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "it is no image"),
        ("text.png", b"not an image", "it is no image"),
        ("cut.png", a_png()[:-30], "truncated|broken|incomplete"),
        ("bomb.png", a_png(width=60_000, height=60_000), "more pixels than a picture should"),
        ("cut.jpg", None, "truncated"),
        ("one.png", None, "1x1 pixels; 8 a side are the fewest"),
        ("line.png", None, "1x5000 pixels"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    elif name == "cut.jpg":
        Image.effect_noise((200, 200), 90).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    else:
        Image.new("L", (1, 1) if name == "one.png" else (1, 5000)).save(path)
    with pytest.raises(UserError, match=reason) as refused:
        read(path)
    assert "\n" not in str(refused.value)


def sixteen_bits(path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)).save(path)


def transparent(path: Path) -> None:
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (5, 5, 15, 15))
    image.save(path)


def turned(path: Path) -> None:
    image = Image.new("RGB", (30, 20))
    image.paste("white", (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif, quality=95)


def animated(path: Path) -> None:
    Image.new("L", (20, 20), 50).save(path, save_all=True, append_images=[Image.new("L", (20, 20), 200)])


def cmyk(path: Path) -> None:
    Image.new("CMYK", (20, 20), (255, 0, 0, 0)).save(path)


def palette(path: Path) -> None:
    Image.new("RGB", (20, 20), (200, 30, 40)).quantize().save(path)


@pytest.mark.parametrize(
    ("write", "name", "corner", "middle", "note"),
    [
        (sixteen_bits, "a.png", (0, 0, 0), None, "16 bits a pixel, of which the upper 8 count"),
        (transparent, "a.png", (255, 255, 255), (0, 0, 255), "transparent, put on white"),
        (turned, "a.jpg", (255, 255, 255), None, "turned as its camera says"),
        (animated, "a.gif", (50, 50, 50), (50, 50, 50), "first picture of an animation"),
        (cmyk, "a.tif", (0, 255, 255), None, "CMYK turned to red, green and blue"),
        (palette, "a.png", (200, 30, 40), None, ""),
    ],
)
def test_every_kind_of_image(
    tmp_path: Path,
    write: Callable[[Path], None],
    name: str,
    corner: tuple[int, int, int],
    middle: tuple[int, int, int] | None,
    note: str,
) -> None:
    write(tmp_path / name)
    image = read(tmp_path / name)
    pixels = image.pixels.convert("RGB")
    assert np.abs(np.asarray(pixels, int)[1, 1] - corner).max() < 20
    if middle:
        assert pixels.getpixel((10, 10)) == middle
    assert note in (*image.notes, "")
    assert image.notes if note else not image.notes


def test_sixteen_bits_keep_their_order(tmp_path: Path) -> None:
    sixteen_bits(tmp_path / "a.png")
    grey = np.asarray(read(tmp_path / "a.png").pixels)
    assert (grey.min(), grey.max()) == (0, 255)
    assert (np.diff(grey.flatten().astype(int)) >= 0).all()


def test_a_large_picture_is_its_middle(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 200), "red")
    image.paste("blue", (50, 0, 250, 200))
    image.save(tmp_path / "a.png")
    looked = read(tmp_path / "a.png")
    assert (looked.pixels.size, looked.size, looked.grey) == ((64, 64), (300, 200), False)
    assert looked.pixels.getcolors() == [(64 * 64, (0, 0, 255))]


def one_class(folder: Path) -> None:
    write_folder(folder, letters(20, names="A"))


def loose(folder: Path) -> None:
    for number, (_, letter) in enumerate(letters(20)):
        letter.save(folder / f"{number}.png")


def mixed(folder: Path) -> None:
    write_folder(folder, letters(20, names="AB"))
    loose(folder)


def deep(folder: Path) -> None:
    write_folder(folder / "inner", letters(20))


def too_few(folder: Path) -> None:
    write_folder(folder, letters(50, names="AB"))


def alone(folder: Path) -> None:
    write_folder(folder, letters(600, names="AB"))
    write_folder(folder, letters(1, names="C"))


def odd(folder: Path) -> None:
    write_folder(folder, letters(600, names="AB"))
    write_folder(folder, [("C\nD", next(letters(1))[1])])


def unreadable(folder: Path) -> None:
    """All images of the second class, so that one is left where they are left out."""
    write_folder(folder, letters(600, names="AB"))
    for path in (folder / "B").iterdir():
        path.write_bytes(b"")


def all_equal(folder: Path) -> None:
    letter = next(letters(1))[1]
    write_folder(folder, (("AB"[number % 2], letter) for number in range(600)))


def no_images(folder: Path) -> None:
    (folder / "README").write_text("images to come")


def a_loop(folder: Path) -> None:
    write_folder(folder, letters(20, names="AB"))
    (folder / "A/again").symlink_to(folder)


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (lambda folder: folder.rmdir(), "does not exist"),
        (lambda folder: (folder.rmdir(), folder.write_text("")), "is a file"),
        (lambda _: None, "has no images, in class folders or without"),
        (no_images, "has no images, in class folders or without"),
        (one_class, "has one class, A; it takes two, or --no-labels"),
        (loose, "has 20 images; 300 different ones are the fewest"),
        (mixed, "lie beside the class folders: 0.png"),
        (deep, r"class folders hold folders: inner/A/, inner/B/.* and 15 more"),
        (a_loop, "class folders hold folders: A/again/"),
        (too_few, "has 50 images; 300 different ones are the fewest"),
        (all_equal, "has 600 images, 1 different ones; 300 different"),
        (alone, r"class C has \d training and \d test images"),
        (odd, r"class 'C\\nD' has \d training and \d test images"),
        (unreadable, "has one class, A; it takes two"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path, fill: Callable[[Path], object], reason: str) -> None:
    folder = tmp_path / "my images"
    folder.mkdir()
    fill(folder)
    with pytest.raises(UserError, match=reason) as refused:
        refuse(folder, found_in(folder))
    assert "\n" not in str(refused.value)


def test_what_is_no_image_is_left_out_by_name(tmp_path: Path) -> None:
    write_folder(tmp_path, letters(10, names="AB"))
    for name in ("README", "A/Thumbs.db", "A/.DS_Store", "B/.hidden.png", "B/notes.txt"):
        (tmp_path / name).write_text("no image")
    (tmp_path / ".cache").mkdir()
    files, left_out = files_of(tmp_path)
    assert len(files) == 10
    assert left_out == [".cache/", "A/.DS_Store", "A/Thumbs.db", "B/.hidden.png", "B/notes.txt", "README"]


def test_links_are_followed_and_broken_ones_named(tmp_path: Path) -> None:
    write_folder(tmp_path, letters(10, names="AB"))
    whole = next((tmp_path / "A").iterdir())
    (tmp_path / "A/link.png").symlink_to(whole)
    (tmp_path / "A/loop.png").symlink_to(tmp_path / "A/loop.png")
    (tmp_path / "A/gone.png").symlink_to(tmp_path / "nothing")
    found = found_in(tmp_path)
    assert len(found.images) == 11
    assert len(found.unreadable) == 2


def test_class_names_become_names_of_metrics(tmp_path: Path) -> None:
    names = ["a b", "it's", 'q"', "q'", "über", "line\nbreak", "plain"]
    for number, name in enumerate(names):
        write_folder(tmp_path, ((name, letter) for _, letter in letters(number + 2)))
    found = found_in(tmp_path)
    assert sorted(found.classes) == sorted(names)
    assert sorted(found.names) == sorted(["a b", "it_s", "q_", "q__2", "_ber", "line_break", "plain"])
    assert all(line.isprintable() for line in report(found))


def test_colour_is_kept_and_grey_is_one_channel(tmp_path: Path) -> None:
    for name, coloured, channels in (("grey", False, 1), ("coloured", True, 3)):
        folder = write_folder(tmp_path / name, letters(40, size=48, coloured=coloured))
        assert found_in(folder).pack()["images"].shape == (40, channels, 48, 48)


@pytest.mark.skipif(os.geteuid() == 0, reason="a folder that may not be read (the superuser may read all)")
def test_a_folder_that_may_not_be_read_is_said(letter_folder: Path) -> None:
    inside = letter_folder / "A"
    inside.chmod(0)
    try:
        with pytest.raises(UserError, match="cannot be read: Permission denied"):
            files_of(letter_folder)
    finally:
        inside.chmod(0o755)


def test_names_of_sets_are_made_of_folders() -> None:
    assert [folders.name_of(Path(name)) for name in ("my letters", "Übung!", "...", "a.b_c-1")] == [
        "my-letters", "bung", "images", "a.b_c-1",
    ]  # fmt: skip
