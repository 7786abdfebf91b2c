"""`python -m benchmarks.precision`: what each precision of the default model costs in quality.

Perplexity, and the Kullback-Leibler divergence of the next token's distribution from float32's, over news
prose cut into windows, every token read with the true ones before it; then the greedy answers to twenty fixed
questions, side by side. Ends with 1 where a divergence is above its limit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
from tokenizers import Tokenizer

from services.inference_worker.engine.adapters import program
from services.inference_worker.engine.batch import BLOCK_TOKENS, Part, pack
from services.inference_worker.engine.checkpoint import open_checkpoint
from services.inference_worker.engine.runner import Runner
from services.kit.settings import read
from services.store.catalogue import Catalogue
from services.store.digests import digest_of
from services.store.settings import StoreSettings
from services.store.sources import open_source
from services.store.store import Store
from services.tokenizer.chat_template import ChatTemplate
from services.tokenizer.inputs import Chat, Message

MODEL = "smollm2-135m-instruct"
LIMITS = {"float32": 0.0, "bfloat16": 0.001, "int8": 0.01, "q4": 0.01}
"""The most that the mean divergence from float32 may be, in nats."""
WINDOWS, WINDOW, ANSWER_TOKENS = 40, 512, 40
BLOCKS = 256 // BLOCK_TOKENS
"""Of the cache, for each question and its answer."""

# 299 news items of 2000 and 2001, in English: Lee's background corpus, as gensim's wheels carry it.
PROSE = "pypi://gensim==4.4.0/gensim/test/test_data/lee_background.cor"
PROSE_SHA256 = "5d78d6dafd953bbf65797bef09a9ffb9ec430583381be705f8fd460000f370fb"

QUESTIONS = (
    "What is the capital of France?",
    "How many days are in a week?",
    "What do bees make?",
    "Who wrote Romeo and Juliet?",
    "What is the largest planet in our solar system?",
    "What gas do plants take in from the air?",
    "Translate 'good morning' into Spanish.",
    "What is 7 plus 5?",
    "Name three primary colours.",
    "What is the opposite of hot?",
    "Write one sentence about the sea.",
    "Why is the sky blue?",
    "What is a noun?",
    "At what temperature in Celsius does water boil?",
    "Which animal is called man's best friend?",
    "Give me a tip for sleeping better.",
    "What is the plural of mouse?",
    "In which country are the pyramids of Giza?",
    "What does a thermometer measure?",
    "Is a tomato a fruit or a vegetable?",
)


@dataclass
class Score:
    """What one precision does with the prose; a number for each token that was predicted."""

    divergences: list[torch.Tensor] = field(default_factory=list)
    surprises: list[torch.Tensor] = field(default_factory=list)
    agreements: list[torch.Tensor] = field(default_factory=list)

    def add(self, found: torch.Tensor, reference: torch.Tensor, truth: torch.Tensor) -> None:
        """Take a window's log-probabilities [tokens, vocabulary], float32's, and the tokens that came.

        Spoils `found`: these are large, and fresh memory for each would take most of the time.
        """
        self.surprises.append(-found.gather(1, truth[:, None])[:, 0])
        self.agreements.append((found.argmax(-1) == reference.argmax(-1)).float())
        self.divergences.append(found.neg_().add_(reference).mul_(reference.exp()).sum(-1))

    @property
    def divergence(self) -> float:
        """The mean divergence from float32, in nats."""
        return float(torch.cat(self.divergences).mean())

    def row(self, precision: str) -> str:
        """Return this precision's line of the table."""
        perplexity = float(torch.cat(self.surprises).mean().exp())
        worst = float(torch.cat(self.divergences).quantile(0.99))
        agreement = float(torch.cat(self.agreements).mean())
        limit = f"{LIMITS[precision]:g}" if LIMITS[precision] else "-"
        return (
            f"| {precision} | {perplexity:.3f} | {self.divergence:.5f} | {worst:.5f} | {limit} "
            f"| {agreement:.2%} |"
        )


class Model:
    """The default model's files, and a runner of it for each precision."""

    def __init__(self) -> None:
        settings = read(StoreSettings)
        self._spec = Catalogue.read(settings.catalogue).get(MODEL)
        self._store = Store(settings.cache)
        self._folder = self._store.fetch(self._spec)
        files = self._store.tokenizer(self._spec)
        self.tokenizer = Tokenizer.from_file(str(files.path))
        self._template = ChatTemplate(files.chat_template or "", {})
        self.ends = frozenset(files.end_token_ids)

    def prompt(self, question: str) -> list[int]:
        """Return the ids of a conversation that asks `question`."""
        text = self._template.render(Chat((Message("user", question),)), "chat")
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def reference(self) -> Runner:
        """Return the runner in torch, float32: what all others are held to."""
        from services.inference_worker.engine.torch_program import TorchProgram
        from services.inference_worker.engine.torch_runner import TorchRunner

        checkpoint = open_checkpoint(self._folder)
        told = program(checkpoint.config, checkpoint.names(), "generate")
        assert told is not None
        made = TorchProgram(checkpoint, told, torch.device("cpu"), torch.float32)
        return TorchRunner(made, len(QUESTIONS) * BLOCKS, self.ends)

    def native(self, precision: str, into: Path) -> Runner:
        """Return the native runner, its weights packed into the empty folder `into`."""
        from services.inference_worker.engine.native.runner import NativeRunner

        into.mkdir()
        packing = [sys.executable, "-m", "services.inference_worker.engine.native.packing"]
        subprocess.run([*packing, self._folder, into, precision, "generate"], check=True)
        return NativeRunner(into, len(QUESTIONS) * BLOCKS, os.cpu_count() or 1)


def windows(tokenizer: Tokenizer, count: int) -> Iterator[list[int]]:
    """Yield `count` pieces of the prose of WINDOW tokens each, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        open_source(PROSE, "").fetch(Path(folder), lambda *_: None)
        file = Path(folder) / PROSE.rpartition("/")[2]
        if digest_of(file) != PROSE_SHA256:
            raise SystemExit(f"{PROSE} is not the text that this was measured on")
        ids = tokenizer.encode(file.read_text(encoding="utf-8"), add_special_tokens=False).ids
    for start in range(0, count * WINDOW, WINDOW):
        yield ids[start : start + WINDOW]


def log_probabilities(runner: Runner, tokens: Sequence[int]) -> torch.Tensor:
    """Return the logarithm of the next token's distribution after each of `tokens`, in one step."""
    blocks = range(-(-len(tokens) // BLOCK_TOKENS))
    logits = runner.step(pack([Part(tokens, 0, blocks, len(tokens))])).logits
    return torch.log_softmax(torch.from_numpy(logits), -1)


def answers(runner: Runner, prompts: Sequence[Sequence[int]], ends: frozenset[int]) -> list[list[int]]:
    """Return the greedy answers to all prompts, which are read and answered together."""
    told: list[list[int]] = [[] for _ in prompts]
    tables = [range(number * BLOCKS, (number + 1) * BLOCKS) for number in range(len(prompts))]
    at = {number: Part(prompt, 0, tables[number], 1) for number, prompt in enumerate(prompts)}
    while at:
        likeliest = runner.step(pack(list(at.values()))).likeliest.tolist()
        following = {}
        for (number, part), token in zip(at.items(), likeliest, strict=True):
            if token in ends:
                continue
            told[number].append(token)
            if len(told[number]) < ANSWER_TOKENS:
                following[number] = Part([token], part.start + len(part.tokens), tables[number], 1)
        at = following
    return told


def side_by_side(tokenizer: Tokenizer, told: dict[str, list[list[int]]]) -> str:
    """Return the questions with their answers; precisions that say the same share a line."""
    lines = []
    for number, question in enumerate(QUESTIONS):
        said: dict[str, list[str]] = {}
        for precision, given in told.items():
            text = tokenizer.decode(given[number]).strip().replace("\n", " ").replace("|", "\\|")
            cut = " …" if len(given[number]) == ANSWER_TOKENS else ""
            said.setdefault(text + cut, []).append(precision)
        lines += [f"\n**{number + 1}. {question}**\n"]
        lines += [f"- {', '.join(who)}: {text}" for text, who in said.items()]
    return "\n".join(lines)


def processor() -> str:
    """Return the processor's name as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "a processor")


def report(model: Model, scores: dict[str, Score], told: dict[str, list[list[int]]], count: int) -> str:
    """Return the whole page."""
    same = {
        precision: sum(a == b for a, b in zip(given, told["float32"], strict=True))
        for precision, given in told.items()
    }
    rows = [f"{score.row(precision)} {same[precision]} |" for precision, score in scores.items()]
    made = (
        f"{datetime.now(UTC):%Y-%m-%d}. {os.cpu_count()} cores of {processor()}, torch {torch.__version__}."
    )
    columns = (
        "precision",
        "perplexity",
        "KL",
        "KL, 99th percentile",
        "limit",
        "same likeliest token",
    )
    head = " | ".join((*columns, f"same answers of {len(QUESTIONS)}"))
    return "\n".join(
        [
            "# Precision",
            "",
            f"`python -m benchmarks.precision` (`make precision`), {made}",
            f"{MODEL}; {count * (WINDOW - 1):,} predicted tokens of prose ({PROSE}) in windows of {WINDOW}.",
            "float32 is the torch runner, the others are the native one. KL: mean divergence from float32,",
            "in nats.",
            "",
            f"| {head} |",
            "| --- " * (len(columns) + 1) + "|",
            *rows,
            "",
            "## Twenty questions",
            "",
            f"Greedy, at most {ANSWER_TOKENS} tokens; precisions that say the same share a line.",
            side_by_side(model.tokenizer, told),
        ]
    )


def measure(model: Model, precisions: Sequence[str], count: int) -> tuple[dict[str, Score], str]:
    """Return each precision's score, and the page."""
    scores = {"float32": Score(), **{each: Score() for each in precisions}}
    with tempfile.TemporaryDirectory() as folder:
        runners = {"float32": model.reference()}
        runners |= {each: model.native(each, Path(folder) / each) for each in precisions}
        for tokens in windows(model.tokenizer, count):
            truth = torch.tensor(tokens[1:])
            reference = log_probabilities(runners["float32"], tokens)[:-1]
            scores["float32"].add(reference.clone(), reference, truth)
            for each in precisions:
                scores[each].add(log_probabilities(runners[each], tokens)[:-1], reference, truth)
        prompts = [model.prompt(question) for question in QUESTIONS]
        told = {name: answers(runner, prompts, model.ends) for name, runner in runners.items()}
    return scores, report(model, scores, told, count)


def main() -> int:
    """Print the page, and keep it; return 1 where a precision is further from float32 than it may be."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--windows", type=int, default=WINDOWS, help=f"of {WINDOW} tokens each")
    arguments.add_argument("--precisions", default="bfloat16,int8,q4", help="beside float32")
    arguments.add_argument("--into", type=Path, help="also write the page to this file")
    chosen = arguments.parse_args()
    scores, page = measure(Model(), [each for each in chosen.precisions.split(",") if each], chosen.windows)
    print(page)
    if chosen.into:
        chosen.into.write_text(page, encoding="utf-8")
    far = [each for each, score in scores.items() if score.divergence > LIMITS[each]]
    if far:
        print(f"further from float32 than allowed: {', '.join(far)}", file=sys.stderr)
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
