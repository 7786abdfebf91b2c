"""What a person is told when a command fails: one sentence about what is wrong, and what to do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.kit.command import CommandError
from services.kit.errors import Reason, TrunklineError

_STATUS = "`trunkline status` shows what is up."
_AGAIN = "What came so far is what there is; ask again."
_MODELS = "`trunkline models list` shows what is here."
ADVICE: Mapping[str, str] = {
    Reason.CONTEXT_LENGTH_EXCEEDED: "Shorten the input, or ask for fewer tokens.",
    Reason.TASK_UNSUPPORTED: (
        "`trunkline models list` shows what each model does; --raw asks one that has no chat template."
    ),
    Reason.MODEL_NOT_FOUND: _MODELS,
    Reason.VERSION_NOT_FOUND: _MODELS,
    Reason.TRACE_NOT_FOUND: "Only the newest traces are kept, and none when they go to Jaeger.",
    Reason.QUEUE_FULL: "Try again in a moment.",
    Reason.DEVICE_MEMORY_EXHAUSTED: "Unload another model, or name a smaller one.",
    Reason.MESSAGE_TOO_LARGE: "Send it in parts.",
    Reason.MODEL_NOT_READY: "`trunkline status` shows how far it is; then ask again.",
    Reason.TOKENIZER_UNAVAILABLE: _STATUS,
    Reason.SERVICE_UNAVAILABLE: _STATUS,
    Reason.WORKER_UNAVAILABLE: _AGAIN,
    Reason.ENGINE_LOST: _AGAIN,
    Reason.STREAM_STALLED: _AGAIN,
    Reason.DRAINING: "The mesh is stopping; ask again when it is back.",
    Reason.DEADLINE_EXCEEDED: "Ask for less, or again when the mesh is less busy.",
    Reason.RPC_NOT_SERVED: "Does the address belong to a Trunkline of the same version?",
    Reason.INTERNAL: "The mesh's logs hold the cause.",
}


@dataclass(frozen=True)
class Complaint:
    """What is wrong, what to do about it, and what a program decides on."""

    message: str
    advice: str = ""
    reason: str = ""
    code: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The words for a person."""
        return f"{self.message} {self.advice}".strip()

    def as_json(self) -> str:
        """Return `{"error": {"message", "reason", "code", "metadata"}}` on one line."""
        said = {"message": self.sentence, "reason": self.reason, "code": self.code}
        return json.dumps({"error": {**said, "metadata": dict(self.metadata)}}, ensure_ascii=False)


def complaint(error: Exception) -> Complaint:
    """Return what is to be said about `error`, whatever it is."""
    if isinstance(error, CommandError):
        return Complaint(str(error), reason="COMMAND")
    if isinstance(error, TrunklineError):
        return _of_trunkline(error)
    if isinstance(error, ModuleNotFoundError):
        missing = f"This command needs {error.name}, which is not installed."
        return Complaint(missing, 'Install what serves: pip install "trunkline[all]"', reason="NOT_INSTALLED")
    grpc = sys.modules.get("grpc")
    if grpc is not None and isinstance(error, grpc.RpcError):
        from services.kit.status import from_rpc_error

        return _of_trunkline(from_rpc_error(error))
    fault = f"A fault of this command itself: {type(error).__name__}: {error}."
    return Complaint(fault, "Please report it.", reason="FAULT")


def _of_trunkline(error: TrunklineError) -> Complaint:
    advice = ADVICE.get(error.reason, "")
    return Complaint(_sentence(error.message), advice, str(error.reason), error.code, error.metadata)


def _sentence(message: str) -> str:
    """Return `message` on one line with an end; it begins with a capital unless a name stands there."""
    words = message.split()
    if words and words[0].isalpha():
        words[0] = words[0][:1].upper() + words[0][1:]
    line = " ".join(words)
    return line if line.endswith((".", "!", "?")) else f"{line}."
