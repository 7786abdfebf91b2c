"""One streamed answer: asked for, printed as it comes, and summed up at its end."""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict
from trunkline.inference.v1.inference_pb2 import Chat, ChatMessage, GenerateRequest, GenerateResponse
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import FinishReason

from gateway.commands.interruption import cancelled_by_ctrl_c
from gateway.commands.trace_context import TraceContext
from services.kit.errors import Internal, Reason

SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")


@dataclass(frozen=True)
class Answer:
    """An answer that has come to its end."""

    model: str
    text: str
    finish: GenerateResponse.Finish
    trace_id: str

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        reason = FinishReason.Name(self.finish.reason).removeprefix("FINISH_REASON_").lower()
        return {
            "model": self.model,
            "model_version": self.finish.model_version,
            "text": self.text,
            "finish_reason": reason,
            "usage": as_dict(self.finish.usage),
            "timings": as_dict(self.finish.timings),
            "trace_id": self.trace_id,
        }


def as_dict(message: Any) -> dict[str, Any]:
    """Return a message as JSON has it, with the field names of the proto and fields that are zero too."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def request(model: str, arguments: argparse.Namespace) -> GenerateRequest:
    """Return a request with the sampling that `arguments` ask for, and no input yet."""
    given = {name: getattr(arguments, name, None) for name in SAMPLING}
    made = GenerateRequest(model=model, stop=getattr(arguments, "stop", None) or ())
    for name, value in given.items():
        if value is not None:
            setattr(made, name, value)
    return made


def chat(messages: Iterable[tuple[str, str]]) -> Chat:
    """Return a conversation of (role, content) pairs."""
    return Chat(messages=[ChatMessage(role=role, content=content) for role, content in messages])


def stream(
    stub: InferenceServiceStub, asked: GenerateRequest, show: Callable[[str], None], context: TraceContext
) -> Answer:
    """Ask, hand each piece of text to `show` as it comes, and return the whole.

    However this ends, with Ctrl-C too, the call is over: its place in the model is free.
    """
    call = stub.Generate(asked, metadata=context.metadata)
    texts: list[str] = []
    try:
        with cancelled_by_ctrl_c(call):
            for response in call:
                if response.HasField("finish"):
                    return Answer(asked.model, "".join(texts), response.finish, context.trace_id)
                texts.append(response.delta.text)
                show(response.delta.text)
    finally:
        call.cancel()
    raise Internal(Reason.INTERNAL, "the answer broke off without an end")


def printable(text: str) -> str:
    """Return `text` without control characters, which a terminal would obey."""
    return "".join(letter for letter in text if letter in "\n\t" or unicodedata.category(letter) != "Cc")


def conversation(prompt: str, system: str | None) -> Sequence[tuple[str, str]]:
    """Return the messages that ask `prompt` of a model, told first what it is to be by `system`."""
    opening = [("system", system)] if system else []
    return [*opening, ("user", prompt)]
