"""`openvino_generation.py MODEL`: OpenVINO-GenAI's continuous batching, 16-bit weights, a step at a time."""

import itertools
import sys
import time

import numpy as np
import openvino
import openvino_genai
import turns

CACHE_GIGABYTES = 1
limits = openvino_genai.SchedulerConfig()
limits.cache_size = CACHE_GIGABYTES
limits.max_num_seqs = 64
limits.enable_prefix_caching = False
pipeline = openvino_genai.ContinuousBatchingPipeline(sys.argv[1], limits, "CPU", {})
numbers = itertools.count(1)


def generate(prompts: list[list[int]], new_tokens: int) -> list[list[float]]:
    config = openvino_genai.GenerationConfig(
        max_new_tokens=new_tokens, min_new_tokens=new_tokens, ignore_eos=True, do_sample=False
    )
    began = time.perf_counter()
    handles = []
    for prompt in prompts:
        ids = openvino.Tensor(np.array([prompt], dtype=np.int64))
        handles.append(pipeline.add_request(next(numbers), ids, config))
    arrivals: list[list[float]] = [[] for _ in prompts]
    while pipeline.has_non_finished_requests():
        pipeline.step()
        now = time.perf_counter() - began
        for handle, times in zip(handles, arrivals, strict=True):
            while handle.can_read():
                for output in handle.read().values():
                    times.extend([now] * len(output.generated_ids))
    return arrivals


turns.serve(generate)
