"""Streams an answer from a Trunkline mesh.

python examples/python/generate.py What is the capital of France?
"""

import os
import sys

import grpc
from trunkline.inference.v1.inference_pb2 import Chat, ChatMessage, GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

ADDRESS = os.environ.get("TRUNKLINE_ADDRESS", "127.0.0.1:8080")


def main(question: str) -> None:
    request = GenerateRequest(
        model="smollm2-135m-instruct",
        chat=Chat(messages=[ChatMessage(role="user", content=question)]),
        max_tokens=64,
        temperature=0,
    )
    with grpc.insecure_channel(ADDRESS) as channel:
        # The deadline holds for the whole answer. Leaving the loop early would need call.cancel().
        call = InferenceServiceStub(channel).Generate(request, timeout=120)
        for response in call:
            if response.HasField("delta"):
                print(response.delta.text, end="", flush=True)
            else:
                usage = response.finish.usage
                print(f"\n[{usage.prompt_tokens} tokens read, {usage.completion_tokens} made]")


if __name__ == "__main__":
    try:
        main(" ".join(sys.argv[1:]) or "What is the capital of France?")
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
