from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.kit import child
from services.kit.child import Launch, SupervisedChild
from tests.eventually import eventually

SLEEPER = ("sleep", "1000")
STUBBORN = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(int(sys.argv[1]), b"up")
signal.pause()
"""
PARENT = """
import asyncio, sys
from services.kit.child import SupervisedChild

async def main():
    one = SupervisedChild("sleeper", ["sleep", "1000"])
    await one.start()
    print(one.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Diary:
    """What a child's callbacks were told."""

    def __init__(self) -> None:
        self.pids: asyncio.Queue[int] = asyncio.Queue()
        self.exits: asyncio.Queue[int] = asyncio.Queue()

    async def next(self, queue: asyncio.Queue[int]) -> int:
        async with asyncio.timeout(60):
            return await queue.get()


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
async def supervise(diary: Diary) -> AsyncIterator[Callable[..., SupervisedChild]]:
    children: list[SupervisedChild] = []

    def make(*args: Any, **kwargs: Any) -> SupervisedChild:
        callbacks = {"on_start": diary.pids.put_nowait, "on_exit": diary.exits.put_nowait}
        children.append(SupervisedChild(*args, **callbacks, **{"grace": 5.0, **kwargs}))
        return children[-1]

    yield make
    for one in children:
        await one.stop()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def field(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while alive(pid):  # noqa: ASYNC110 - another process's child
            await asyncio.sleep(0.01)


async def test_a_child_that_ends_is_started_again(supervise: Callable[..., SupervisedChild], diary: Diary):
    one = supervise("sleeper", SLEEPER)
    await one.start()
    first = await diary.next(diary.pids)
    os.kill(first, signal.SIGKILL)
    assert await diary.next(diary.exits) == -signal.SIGKILL
    second = await diary.next(diary.pids)
    assert (one.pid, one.restarts) == (second, 1)
    assert second != first


async def test_a_child_that_keeps_ending_is_started_less_and_less_often(
    supervise: Callable[..., SupervisedChild], diary: Diary, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(child, "FIRST_DELAY_S", 0.02)
    monkeypatch.setattr(child, "LONGEST_DELAY_S", 0.08)
    clock = asyncio.get_running_loop().time
    one = supervise("brief", ["true"])
    await one.start()
    starts = []
    for _ in range(5):
        await diary.next(diary.exits)
        ended = clock()
        await diary.next(diary.pids)
        starts.append(ended)
    assert starts[3] - starts[2] >= 0.08  # the pauses double: 0.02, 0.04, 0.08, 0.08
    assert one.restarts >= 4


async def test_a_child_that_may_end_is_left_alone(supervise: Callable[..., SupervisedChild], diary: Diary):
    one = supervise("brief", ["sh", "-c", "exit 7"], restart=False)
    await one.start()
    async with asyncio.timeout(60):
        await one.wait()
    assert diary.exits.get_nowait() == 7
    assert (one.pid, one.restarts) == (None, 0)
    await one.restart()
    assert await diary.next(diary.exits) == 7


async def test_a_restart_goes_at_once_and_is_counted(
    supervise: Callable[..., SupervisedChild], diary: Diary, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(child, "FIRST_DELAY_S", 60.0)
    one = supervise("sleeper", SLEEPER)
    await one.start()
    first = one.pid
    async with asyncio.timeout(60):
        await one.restart()
    assert one.pid not in {None, first}
    assert one.restarts == 1
    assert await diary.next(diary.exits) == -signal.SIGTERM


async def test_a_restart_cuts_a_pause_short(
    supervise: Callable[..., SupervisedChild], diary: Diary, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(child, "FIRST_DELAY_S", 60.0)
    one = supervise("brief", ["true"])
    await one.start()
    await diary.next(diary.exits)
    async with asyncio.timeout(60):
        await one.restart()
    assert one.restarts == 1


async def test_stopping_drains_first_then_asks_then_kills(
    supervise: Callable[..., SupervisedChild], diary: Diary
):
    order: list[str] = []

    async def drain() -> None:
        order.append("drained" if alive(pid) else "too late")

    up, told = os.pipe()
    command = (sys.executable, "-c", STUBBORN, str(told))
    one = supervise("stubborn", command, pass_fds=(told,), before_stop=drain, grace=0.2)
    await one.start()
    pid = await diary.next(diary.pids)
    os.close(told)
    assert await asyncio.to_thread(os.read, up, 2) == b"up"
    os.close(up)
    await one.stop()
    assert order == ["drained"]
    assert await diary.next(diary.exits) == -signal.SIGKILL
    assert (one.pid, alive(pid)) == (None, False)


async def test_a_stop_in_the_middle_of_a_start_still_stops(
    supervise: Callable[..., SupervisedChild], diary: Diary
):
    stops: list[asyncio.Task[None]] = []

    def launch() -> Launch:
        if one.restarts:
            stops.append(asyncio.create_task(one.stop()))  # runs at the start's first await
        return Launch(SLEEPER)

    one = supervise("sleeper", launch)
    await one.start()
    os.kill(await diary.next(diary.pids), signal.SIGKILL)
    second = await diary.next(diary.pids)
    async with asyncio.timeout(60):
        await stops[0]
    assert (one.pid, alive(second)) == (None, False)


async def test_each_start_may_have_its_own_descriptors_and_environment(
    supervise: Callable[..., SupervisedChild], diary: Diary
):
    reader, writer = os.pipe()
    runs = iter(range(100))

    def launch() -> Launch:
        run = next(runs)
        return Launch(
            ("sh", "-c", f"echo $RUN >/proc/self/fd/{writer}"), env={"RUN": str(run)}, pass_fds=(writer,)
        )

    one = supervise("writer", launch)
    await one.start()
    await diary.next(diary.exits)
    await diary.next(diary.exits)
    assert (await asyncio.to_thread(os.read, reader, 4)) == b"0\n1\n"
    os.close(reader)
    os.close(writer)


async def test_a_command_that_cannot_be_started_says_so_and_is_tried_again(
    supervise: Callable[..., SupervisedChild], diary: Diary, capfd: pytest.CaptureFixture[str]
):
    one = supervise("nothing", ["/no/such/command"])
    await one.start()
    assert await diary.next(diary.exits) == 127
    assert await diary.next(diary.exits) == 127
    assert "/no/such/command cannot be started: No such file or directory" in capfd.readouterr().err


async def test_a_callback_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture):
    def fail(_: int) -> None:
        raise RuntimeError("mine")

    async def fail_too() -> None:
        raise RuntimeError("mine too")

    one = SupervisedChild("sleeper", SLEEPER, on_start=fail, on_exit=fail, before_stop=fail_too)
    await one.start()
    await one.stop()
    assert one.pid is None
    assert caplog.text.count("RuntimeError: mine") == 3


async def test_a_child_is_started_once_and_from_the_main_thread(supervise: Callable[..., SupervisedChild]):
    one = supervise("sleeper", SLEEPER)
    with pytest.raises(RuntimeError, match="main one"):
        await asyncio.to_thread(asyncio.run, one.start())
    await one.start()
    with pytest.raises(RuntimeError, match="started already"):
        await one.start()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_whatever_ends_a_parent_leaves_no_orphan(number: signal.Signals):
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(number)
    await parent.wait()
    await gone(pid)


async def test_ctrl_c_reaches_only_the_parent(supervise: Callable[..., SupervisedChild]):
    one = supervise("sleeper", SLEEPER)
    await one.start()
    assert one.pid is not None
    assert os.getsid(one.pid) == os.getpgid(one.pid) == one.pid
    assert os.getsid(one.pid) != os.getsid(0)


def test_a_child_whose_parent_is_gone_already_does_nothing():
    launcher = Path(child.__file__).with_name("launcher.py")
    run = subprocess.run([sys.executable, str(launcher), "1", "echo", "ran"], capture_output=True, check=True)
    assert run.stdout == b""


async def test_a_child_does_not_inherit_the_signals_that_python_ignores(
    supervise: Callable[..., SupervisedChild], diary: Diary
):
    one = supervise("sleeper", SLEEPER)
    await one.start()
    pid = await diary.next(diary.pids)
    async with asyncio.timeout(60):
        while field(pid, "Name") != "sleep":  # noqa: ASYNC110 - until the launcher has become the command
            await asyncio.sleep(0.01)
    ignored = int(field(pid, "SigIgn"), 16)
    assert not [each for each in (signal.SIGPIPE, signal.SIGXFSZ) if ignored & 1 << (each - 1)]


async def test_a_child_keeps_to_its_cores(supervise: Callable[..., SupervisedChild], diary: Diary) -> None:
    core = min(os.sched_getaffinity(0))
    child = supervise("sleeper", lambda: Launch(("sleep", "1000"), cores=(core,)))
    await child.start()
    pid = await diary.next(diary.pids)
    await eventually(lambda: _runs(pid, "sleep"), within=60)
    assert os.sched_getaffinity(pid) == {core}


async def _runs(pid: int, command: str) -> bool:
    """Tell whether the launcher has become the command."""
    return psutil.Process(pid).name() == command
