"""`vllm_generation.py MODEL`: vLLM's engine in this process, in bfloat16, a step at a time."""

import itertools
import os
import sys
import time

cores = sorted(os.sched_getaffinity(0))
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
os.environ["VLLM_CPU_OMP_THREADS_BIND"] = f"{cores[0]}-{cores[-1]}" if len(cores) > 1 else str(cores[0])
os.environ["HF_HUB_OFFLINE"] = "1"

import turns  # noqa: E402 - it reads the variables above when it is imported
from vllm import EngineArgs, LLMEngine, SamplingParams  # noqa: E402
from vllm.sampling_params import RequestOutputKind  # noqa: E402

engine = LLMEngine.from_engine_args(
    EngineArgs(
        model=sys.argv[1],
        dtype="bfloat16",
        max_model_len=2048,
        max_num_seqs=64,
        enable_prefix_caching=False,
        enforce_eager=True,
    )
)
numbers = itertools.count(1)


def generate(prompts: list[list[int]], new_tokens: int) -> list[list[float]]:
    sampling = SamplingParams(
        temperature=0,
        max_tokens=new_tokens,
        min_tokens=new_tokens,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
    began = time.perf_counter()
    arrivals: dict[str, list[float]] = {}
    for prompt in prompts:
        name = str(next(numbers))
        arrivals[name] = []
        engine.add_request(name, {"prompt_token_ids": prompt}, sampling)
    while engine.has_unfinished_requests():
        outputs = engine.step()
        now = time.perf_counter() - began
        for each in outputs:
            arrivals[each.request_id] += [now] * len(each.outputs[0].token_ids)
    return list(arrivals.values())


turns.serve(generate)
