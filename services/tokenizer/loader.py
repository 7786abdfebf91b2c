"""Loading a tokenizer: its files out of the store, then the library's object, on a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from threading import Thread
from typing import TypeVar

from opentelemetry.trace import Tracer

from services.kit.errors import FailedPrecondition, Reason
from services.store.spec import ModelSpec
from services.store.store import Store
from services.store.tokenizer_files import TokenizerFiles, TokenizerFormat
from services.tokenizer.backend import Tokenizer
from services.tokenizer.batcher import QueueLimits
from services.tokenizer.chat_template import ChatTemplate
from services.tokenizer.hugging_face import HuggingFaceTokenizer
from services.tokenizer.model_tokenizer import ModelTokenizer
from services.tokenizer.sentence_piece import SentencePieceTokenizer

T = TypeVar("T")


class Loader:
    """Makes ModelTokenizers. They share an executor for their work and the limits of their queues."""

    def __init__(self, store: Store, limits: QueueLimits, executor: Executor, tracer: Tracer) -> None:
        self._store = store
        self._limits = limits
        self._executor = executor
        self._tracer = tracer

    def cached(self, spec: ModelSpec) -> bool:
        """Return whether loading needs no network."""
        return self._store.cached(spec)

    async def load(self, spec: ModelSpec) -> ModelTokenizer:
        """Return the tokenizer; raises FailedPrecondition (MODEL_SOURCE_INVALID)."""
        files, backend, template = await in_thread(lambda: self._read(spec))
        return ModelTokenizer(
            spec,
            files,
            backend,
            template,
            pad_id=_pad_id(files, backend),
            limits=self._limits,
            executor=self._executor,
            tracer=self._tracer,
        )

    def _read(self, spec: ModelSpec) -> tuple[TokenizerFiles, Tokenizer, ChatTemplate | None]:
        files = self._store.tokenizer(spec)
        try:
            artifact = files.path.read_bytes()
            template = files.chat_template and ChatTemplate(files.chat_template, _special_texts(files))
            return files, _backend(files, artifact), template or None
        except (OSError, ValueError) as error:
            message = f"The tokenizer of {spec.name!r} cannot be loaded: {error}"
            metadata = {"model": spec.name, "source": spec.source}
            raise FailedPrecondition(Reason.MODEL_SOURCE_INVALID, message, metadata=metadata) from error


def _backend(files: TokenizerFiles, artifact: bytes) -> Tokenizer:
    if files.format is TokenizerFormat.HF_TOKENIZER_JSON:
        return HuggingFaceTokenizer(artifact)
    return SentencePieceTokenizer(artifact, add_bos=files.add_bos, add_eos=files.add_eos)


def _pad_id(files: TokenizerFiles, backend: Tokenizer) -> int:
    """Return what fills up: the padding token, else an end token, else 0; the mask tells it apart."""
    pad = files.special_tokens.pad
    index = backend.token_id(pad) if pad is not None else None
    return index if index is not None else next(iter(files.end_token_ids), 0)


def _special_texts(files: TokenizerFiles) -> dict[str, str]:
    tokens = files.special_tokens
    named = {"bos": tokens.bos, "eos": tokens.eos, "unk": tokens.unk, "pad": tokens.pad}
    return {f"{role}_token": text for role, text in named.items() if text is not None}


async def in_thread(function: Callable[[], T]) -> T:
    """Return `function()`, run on a daemon thread: a download must not hold up the process's end."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if answer.cancelled():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # None only beside an error

    def work() -> None:
        result, failure = None, None
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the awaiting task's
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    Thread(target=work, daemon=True, name="tokenizer-load").start()
    return await answer
