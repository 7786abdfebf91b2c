"""Embeds texts by a Trunkline mesh and compares them with the first one.

python examples/python/embed.py "A cat sleeps." "A kitten naps." "Stocks fell."
"""

import os
import sys

import grpc
from trunkline.inference.v1.inference_pb2 import EmbedRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

ADDRESS = os.environ.get("TRUNKLINE_ADDRESS", "127.0.0.1:8080")
TEXTS = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "The stock market fell today."]


def main(texts: list[str]) -> None:
    # With `normalize` every vector has length 1, and the cosine of two is their dot product.
    request = EmbedRequest(model="all-minilm-l6-v2", texts=texts, normalize=True)
    with grpc.insecure_channel(ADDRESS) as channel:
        response = InferenceServiceStub(channel).Embed(request, timeout=30)
    first, *_ = vectors = [embedding.values for embedding in response.embeddings]
    for text, vector in zip(texts, vectors, strict=True):
        cosine = sum(a * b for a, b in zip(first, vector, strict=True))
        print(f"{cosine:+.3f}  {text}  ({len(vector)} values)")


if __name__ == "__main__":
    try:
        main(sys.argv[1:] or TEXTS)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
