"""A conversation, at a terminal or through a pipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

import grpc
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

from gateway.commands.answer import Answer, chat, request, stream
from gateway.commands.complaint import complaint
from gateway.commands.trace_context import TraceContext
from services.kit.errors import Reason, TrunklineError
from services.kit.status import from_rpc_error

PROMPT = "you> "


class Conversation:
    """What was said so far, as (role, content) pairs, and the model that goes on with it."""

    def __init__(
        self, stub: InferenceServiceStub, arguments: argparse.Namespace, show: Callable[[str], None]
    ) -> None:
        self._stub = stub
        self._arguments = arguments
        self._show = show
        self._opening = [("system", arguments.system)] if arguments.system else []
        self._said: list[tuple[str, str]] = []

    def ask(self, line: str) -> Answer:
        """Say `line` and return the answer, which is shown as it comes.

        An answer that Ctrl-C stops stays as far as it came, and KeyboardInterrupt goes on. A `line` that
        gets no answer is forgotten, and the failure raised as a TrunklineError. Where the model's context is
        full the oldest exchange is forgotten until the rest fits.
        """
        self._said.append(("user", line))
        heard: list[str] = []
        try:
            answer = self._answer(heard)
        except KeyboardInterrupt:
            self._said.append(("assistant", "".join(heard)))
            raise
        except TrunklineError:
            self._said.pop()
            raise
        self._said.append(("assistant", answer.text))
        return answer

    def _answer(self, heard: list[str]) -> Answer:
        def show(text: str) -> None:
            heard.append(text)
            self._show(text)

        while True:
            asked = request(self._arguments.model, self._arguments)
            asked.chat.CopyFrom(chat([*self._opening, *self._said]))
            try:
                return stream(self._stub, asked, show, TraceContext())
            except grpc.RpcError as failure:
                error = from_rpc_error(failure)
                if error.reason != Reason.CONTEXT_LENGTH_EXCEEDED or len(self._said) < 3:
                    raise error from failure
                del self._said[:2]


def converse(conversation: Conversation, *, interactive: bool) -> Iterator[Answer]:
    """Yield the answers to the lines of standard input, to its end.

    At a terminal a failure is a sentence and the conversation goes on, and Ctrl-C stops an answer or empties
    the line; through a pipe both end it, as they would any program's.
    """
    while True:
        try:
            line = _read(interactive=interactive)
            if line is None:
                return
            if line.strip():
                yield conversation.ask(line)
        except KeyboardInterrupt:
            if not interactive:
                raise
            print()
        except TrunklineError as error:
            if not interactive:
                raise
            print(complaint(error).sentence, file=sys.stderr)


def _read(*, interactive: bool) -> str | None:
    """Return the next line, or None at the end."""
    if not interactive:
        line = sys.stdin.readline()
        return line.removesuffix("\n") if line else None
    try:
        import readline  # noqa: F401 - gives input() history and editing

        return input(PROMPT)
    except EOFError:
        print()
        return None
