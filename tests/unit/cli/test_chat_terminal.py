"""`trunkline chat` as somebody at a terminal has it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.unit.cli.double import Double


class Terminal:
    """The side of a pseudo terminal at which a person sits."""

    def __init__(self, descriptor: int, program: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self._unread = ""
        self.program = program

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def read_until(self, words: str) -> str:
        """Return what is shown up to and with `words`; the test's time limit bounds the wait."""
        while words not in self._unread:
            self._unread += os.read(self._descriptor, 4096).decode()
        shown, found, self._unread = self._unread.partition(words)
        return shown + found


@contextmanager
def terminal(*words: str) -> Iterator[Terminal]:
    """Run `trunkline WORDS` at a terminal."""
    person, program = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", *words],
            stdin=program,
            stdout=program,
            stderr=program,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb"},
        ) as running:
            os.close(program)
            try:
                yield Terminal(person, running)
            finally:
                running.kill()
    finally:
        os.close(person)


def test_ctrl_c_stops_the_answer_and_ctrl_d_leaves(double: Double):
    with terminal("chat") as person:
        person.read_until("you> ")
        person.type("forever\n")
        person.read_until("on on ")
        person.program.send_signal(signal.SIGINT)
        person.read_until("you> ")
        assert double.cancelled.wait(10)
        person.type("hello\n")
        person.read_until("hello \r\n")
        person.read_until("you> ")
        person.type("\x04")
        assert person.program.wait(10) == 0
    roles = [message.role for message in double.asked[1].chat.messages]
    assert roles == ["user", "assistant", "user"], "what came of the stopped answer is remembered"


def test_a_refusal_is_a_sentence_and_the_conversation_goes_on(double: Double):
    with terminal("chat", "--model", "gtp-2") as person:
        person.read_until("you> ")
        person.type("hello\n")
        assert "No model 'gtp-2'." in person.read_until("you> ")
        person.type("\x04")
        assert person.program.wait(10) == 0
