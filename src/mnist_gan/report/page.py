"""Many runs on one page: compare.html, a single file, and compare.md with its pictures in compare/."""

import base64
from collections.abc import Collection, Sequence
from pathlib import Path

import jinja2

from mnist_gan.errors import UserError
from mnist_gan.files import write_atomically
from mnist_gan.quality import verdict
from mnist_gan.quality.guards import noun, plural
from mnist_gan.report import charts, tables
from mnist_gan.report.configurations import Configuration, configurations, differing
from mnist_gan.tracking.published import measured_alike
from mnist_gan.tracking.run import TrackedRun

PICTURES = {
    "classes.png": "By class, from the surest to the least sure",
    "samples.png": "Samples",
    "progression.gif": "Training, on fixed latent vectors",
    "interpolation.gif": "From latent vector to latent vector",
    "nearest.png": "Samples above their nearest training images, by the judge and by the autoencoder",
}
APART = verdict.Verdict(
    "There is no verdict: the runs were measured differently, so that their distances do not compare. With the same "
    "evaluate.samples, frozen networks and prepare.img_size they would.",
    [],
)
KINDS = {".svg": "svg+xml", ".png": "png", ".gif": "gif"}


def write(runs: Sequence[TrackedRun], folder: Path) -> str:
    """Write the page to ``folder``; returns the verdict.

    Raises:
        UserError: there is no run, or an artifact of one is gone.
    """
    if not runs:
        raise UserError("no published run to compare: `dvc repro` makes one")
    groups = configurations(runs)
    curves = charts.draw(groups)
    files = {f"{slug(title)}.svg": curve for title, curve in curves.items()} | {
        picture_name(group, name): group.middle.artifact(f"plots/{name}") for group in groups for name in PICTURES
    }
    alike = measured_alike(runs)
    decided = verdict.decide({group.label: [run.quality for run in group.runs] for group in groups}) if alike else APART
    content = {
        "verdict": decided.sentence,
        "contrasts": decided.contrasts,
        "groups": groups,
        "outlines": tables.outlines(groups) if alike else [],
        "headlines": tables.headlines(groups) if alike else [],
        "panel": tables.panel(groups) if alike else {},
        "charts": list(curves),
        "pictures": PICTURES,
        "parameters": tables.parameters(groups, differing(runs)),
        "runs": tables.runs(groups),
        "classes": plural(noun(runs[0].quality)),
        "samples": int(runs[0].quality["samples"]),
        "slug": slug,
        "picture_name": picture_name,
    }
    for name, data in files.items():
        write_atomically(folder / "compare" / name, data)
    beside = {name: f"compare/{name}" for name in files}
    inside = {name: data_uri(name, data) for name, data in files.items()}
    for page, source in (("compare.md", beside), ("compare.html", inside)):
        text = _templates().get_template(f"{page}.jinja").render(content, source=source)
        write_atomically(folder / page, text.encode())
    _remove_pictures(folder / "compare", keep=files.keys())
    return decided.sentence


def picture_name(group: Configuration, name: str) -> str:
    """The file of a picture of the configuration's middle run."""
    return f"{group.middle.id[:8]}-{name}"


def slug(title: str) -> str:
    """A title as a file's name."""
    return title.lower().replace("é", "e").replace(" ", "-")


def data_uri(name: str, data: bytes) -> str:
    """A picture as a URI that holds it whole."""
    return f"data:image/{KINDS[Path(name).suffix]};base64,{base64.b64encode(data).decode()}"


def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mnist_gan.report"),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _remove_pictures(folder: Path, keep: Collection[str]) -> None:
    """Remove the pictures of earlier reports."""
    for name in PICTURES:
        for path in folder.glob(f"????????-{name}"):
            if path.name not in keep:
                path.unlink()
