"""The downloader against a real local HTTP server: whole, cut, resumed, wrong, refused."""

import functools
import hashlib
import http.server
import threading
from typing import ClassVar

import numpy as np
import pytest

from toolkit.core import http as http_get
from toolkit.core.errors import InputError
from toolkit.data import bloodmnist, dataset
from toolkit.data.bloodmnist import Source


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves one file with ranges; `cuts` bytes limits say after how much each next answer breaks
    off."""

    content = b""
    cuts: ClassVar[list[int]] = []
    ranges: ClassVar[list[str | None]] = []

    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        start = (
            int(asked.removeprefix("bytes=").removesuffix("-"))
            if asked and self.path != "/rangeless"
            else 0
        )
        if start >= len(self.content):
            self.send_error(416)
            return
        body = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(http_get.time, "sleep", lambda seconds: None)
    Handler.content = np.random.default_rng(0).bytes(700_000)
    Handler.cuts, Handler.ranges = [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield functools.partial("http://127.0.0.1:{}/{}".format, running.server_port)
        running.shutdown()
        thread.join()


def source(url):
    return Source(url, hashlib.md5(Handler.content).hexdigest())


def test_a_file_comes_whole_and_tells_how_far_it_is(server, tmp_path):
    told = []
    bloodmnist.fetch(
        source(server("file")),
        tmp_path / "file",
        lambda done, total, note: told.append((done, total)),
    )
    assert (tmp_path / "file").read_bytes() == Handler.content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert told == sorted(told) and told[-1] == (700_000, 700_000)


def test_a_cut_connection_is_taken_up_where_it_broke(server, tmp_path):
    Handler.cuts = [10 * http_get.BLOCK_BYTES, http_get.BLOCK_BYTES + 1]
    bloodmnist.fetch(source(server("file")), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == Handler.content
    assert Handler.ranges == [
        None,
        f"bytes={10 * http_get.BLOCK_BYTES}-",
        f"bytes={11 * http_get.BLOCK_BYTES}-",
    ]


def test_the_next_command_goes_on_with_what_came(server, tmp_path):
    Handler.cuts = [5 * http_get.BLOCK_BYTES] * bloodmnist.ATTEMPTS
    with pytest.raises(InputError, match="was interrupted") as caught:
        bloodmnist.fetch(source(server("file")), tmp_path / "file")
    assert "continues where it stopped" in caught.value.hint
    assert (tmp_path / "file.part").stat().st_size == 5 * http_get.BLOCK_BYTES * bloodmnist.ATTEMPTS
    assert not (tmp_path / "file").exists()
    bloodmnist.fetch(source(server("file")), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == Handler.content
    assert Handler.ranges[-1] == f"bytes={5 * http_get.BLOCK_BYTES * bloodmnist.ATTEMPTS}-"


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    (tmp_path / "file.part").write_bytes(b"old")
    bloodmnist.fetch(source(server("rangeless")), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == Handler.content


def test_a_whole_part_is_only_checked(server, tmp_path):
    (tmp_path / "file.part").write_bytes(Handler.content)
    bloodmnist.fetch(source(server("file")), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == Handler.content


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(InputError, match="wrong checksum"):
        bloodmnist.fetch(Source(server("file"), "0" * 32), tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_refusals_and_silence_are_one_sentence(server, tmp_path):
    with pytest.raises(InputError, match="answered 404"):
        bloodmnist.fetch(source(server("missing")), tmp_path / "file")
    with pytest.raises(InputError, match=r"was interrupted: .*refused"):
        bloodmnist.fetch(source("http://127.0.0.1:9/file"), tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_bloodmnist_is_converted_part_by_part(server, tmp_path, monkeypatch):
    """A file of BloodMNIST's form goes over the wire and comes out as the competition's; fetched
    once for two parts."""
    rng = np.random.default_rng(1)
    arrays = {}
    for part, n in {"train": 9, "val": 3, "test": 4}.items():
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 64, 64, 3), np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, 8, (n, 1), np.uint8)
    np.savez(tmp_path / "original.npz", **arrays)
    Handler.content = (tmp_path / "original.npz").read_bytes()
    monkeypatch.setitem(bloodmnist.BLOODMNIST, 64, source(server("bloodmnist_64.npz")))
    for part, key in {"train": "train", "test": "test"}.items():
        bloodmnist.bloodmnist(64, part, tmp_path / f"{part}.npz", tmp_path)
        samples = dataset.load(tmp_path / f"{part}.npz")
        assert np.array_equal(samples.images, arrays[f"{key}_images"])
        assert np.array_equal(samples.labels, arrays[f"{key}_labels"][:, 0])
    assert len(Handler.ranges) == 1


def test_the_published_sources_are_the_same_record():
    assert set(bloodmnist.BLOODMNIST) == {64, 128, 224}
    for size, published in bloodmnist.BLOODMNIST.items():
        assert f"bloodmnist_{size}.npz" in published.url and len(bytes.fromhex(published.md5)) == 16
