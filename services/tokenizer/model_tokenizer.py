"""A model's tokenizer, ready to use: encodes, counts and decodes off the event loop, in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, cast

from opentelemetry.trace import Tracer

from services.kit.errors import TrunklineError, invalid
from services.store.spec import ModelSpec
from services.store.tokenizer_files import TokenizerFiles, TokenizerFormat
from services.tokenizer.backend import Tokenizer
from services.tokenizer.batcher import Abandoned, Batcher, QueueLimits
from services.tokenizer.chat_template import ChatTemplate
from services.tokenizer.encoder import Encoder
from services.tokenizer.inputs import EncodeOptions, Input, texts_of
from services.tokenizer.jobs import CountJob, EncodeJob, Job
from services.tokenizer.shaping import Encoded

_LARGE_CHARACTERS = 64 << 10
"""From this size (about 10 ms of work) on, calls wait among their like: a book does not hold up a line."""


class ModelTokenizer:
    """The tokenizer of one version of one model. Made inside a running event loop; `close` ends its tasks."""

    def __init__(
        self,
        spec: ModelSpec,
        files: TokenizerFiles,
        backend: Tokenizer,
        template: ChatTemplate | None,
        *,
        pad_id: int,
        limits: QueueLimits,
        executor: Executor,
        tracer: Tracer,
    ) -> None:
        self.spec = spec
        self.digest: str = files.digest
        self.format: TokenizerFormat = files.format
        self.path: Path = files.path
        self.end_token_ids = files.end_token_ids
        self.vocabulary_size = backend.vocabulary_size
        self.has_chat_template = template is not None
        self._backend = backend
        self._pad_id = pad_id
        encoder = Encoder(spec.name, backend, template)

        def lane(run: Any) -> Batcher[Any, Any]:
            return Batcher(spec.name, run, limits=limits, executor=executor, tracer=tracer)

        self._small: Batcher[Job, Any] = lane(encoder.run)
        self._large: Batcher[Job, Any] = lane(encoder.run)
        self._decoding: Batcher[tuple[Sequence[Sequence[int]], bool], list[str]] = lane(self._decode_batch)

    async def encode(self, inputs: Sequence[Input], options: EncodeOptions) -> Sequence[Encoded]:
        """Return one encoding an input; raises TrunklineError as the rpc Encode says."""
        job = EncodeJob(inputs, options, self._pad_id, self._backend.special_ids)
        return cast("Sequence[Encoded]", await self._submit(job))

    async def count(self, inputs: Sequence[Input], *, add_special_tokens: bool) -> Sequence[int]:
        """Return the number of tokens of each input; raises TrunklineError as `encode`."""
        job = CountJob(inputs, EncodeOptions(add_special_tokens=add_special_tokens))
        return cast("Sequence[int]", await self._submit(job))

    async def decode(self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """Return one text a sequence; raises InvalidArgument for an id not below `vocabulary_size`."""
        size = 4 * sum(len(each) for each in sequences)
        return await self._decoding.submit((sequences, skip_special_tokens), size)

    async def close(self) -> None:
        """Refuse what waits."""
        await asyncio.gather(self._small.close(), self._large.close(), self._decoding.close())

    async def _submit(self, job: Job) -> Any:
        size = sum(len(text) for each in job.inputs for text in texts_of(each))
        lane = self._small if size < _LARGE_CHARACTERS else self._large
        return await lane.submit(job, size)

    def _decode_batch(
        self, jobs: Sequence[tuple[Sequence[Sequence[int]], bool]], _abandoned: Abandoned
    ) -> list[list[str] | BaseException]:
        return [self._decoded(sequences, skip_special_tokens=skip) for sequences, skip in jobs]

    def _decoded(
        self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool
    ) -> list[str] | BaseException:
        try:
            for number, ids in enumerate(sequences):
                self._check_ids(f"sequences[{number}]", ids)
        except TrunklineError as error:
            return error
        return self._backend.decode(sequences, skip_special_tokens=skip_special_tokens)

    def _check_ids(self, field: str, ids: Sequence[int]) -> None:
        if max(ids, default=0) < self.vocabulary_size:
            return
        place = next(at for at, each in enumerate(ids) if each >= self.vocabulary_size)
        limit = f"must be below {self.vocabulary_size:,}, the size of the vocabulary, not {ids[place]:,}"
        raise invalid(f"{field}.ids[{place}]", limit)
