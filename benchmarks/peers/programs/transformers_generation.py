"""`transformers_generation.py MODEL`: `generate` on the prompts as one batch, in bfloat16."""

import sys
import time

import torch
import turns
from transformers import AutoModelForCausalLM
from transformers.generation.streamers import BaseStreamer


class Clock(BaseStreamer):
    """Notes when each step's tokens are there; the first that comes is the prompt."""

    def __init__(self) -> None:
        self.times = []

    def put(self, _: object) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)


def generate(prompts: list[list[int]], new_tokens: int) -> list[list[float]]:
    clock = Clock()
    inputs = torch.tensor(prompts)
    began = time.perf_counter()
    model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
        do_sample=False,
        streamer=clock,
    )
    steps = [each - began for each in clock.times[1:]]
    return [steps for _ in prompts]


turns.serve(generate)
