"""`openvino_encoder.py MODEL TOKENIZER`: MiniLM by OpenVINO in bfloat16: sentences sorted, batches of 32.

Says how long the vectors took with tokenising and without, and gives the vectors of the first sentences.
"""

import os
import sys
import time
from typing import Any

import numpy as np
import openvino
import turns
from tokenizers import Tokenizer

BATCH, MOST = 32, 256
options = {
    "INFERENCE_PRECISION_HINT": "bf16",
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
}
model = openvino.Core().compile_model(f"{sys.argv[1]}/openvino_model.xml", "CPU", options)
request = model.create_infer_request()
names = {name for each in model.inputs for name in each.get_names()}
tokenizer = Tokenizer.from_file(f"{sys.argv[2]}/tokenizer.json")
tokenizer.enable_truncation(MOST)
tokenizer.no_padding()


def embed(sentences: list[str], kept: int) -> dict[str, Any]:
    began = time.perf_counter()
    ids = [each.ids for each in tokenizer.encode_batch(sentences)]
    tokenised = time.perf_counter()
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    vectors = {}
    for start in range(0, len(order), BATCH):
        members = order[start : start + BATCH]
        vectors.update(zip(members, batch([ids[at] for at in members]), strict=True))
    ended = time.perf_counter()
    return {
        "with_tokenising": ended - began,
        "seconds": ended - tokenised,
        "tokens": sum(map(len, ids)),
        "vectors": [vectors[at].tolist() for at in range(kept)],
    }


def batch(members: list[list[int]]) -> np.ndarray:
    width = max(map(len, members))
    ids = np.zeros((len(members), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, each in enumerate(members):
        ids[row, : len(each)] = each
        mask[row, : len(each)] = 1
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    hidden = request.infer({name: value for name, value in inputs.items() if name in names})[0]
    pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


turns.serve(embed)
