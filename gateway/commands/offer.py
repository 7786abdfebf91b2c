"""What the mesh has on offer: its models, and the one to ask when the caller named none."""

from __future__ import annotations

from collections.abc import Iterator

from trunkline.inference.v1.inference_pb2 import ListModelsRequest, Model
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import Task

from services.kit.command import CommandError

DEFAULTS = ("smollm2-135m-instruct", "all-minilm-l6-v2")
UNARY_SECONDS = 30.0
_DOES = {Task.TASK_GENERATE: "generates text", Task.TASK_EMBED: "embeds texts"}


def models(stub: InferenceServiceStub) -> Iterator[Model]:
    """Yield every model that can be asked for, by name."""
    token = ""
    while True:
        page = stub.ListModels(ListModelsRequest(page_size=1000, page_token=token), timeout=UNARY_SECONDS)
        yield from page.models
        token = page.next_page_token
        if not token:
            return


def model_for(stub: InferenceServiceStub, task: Task.ValueType, named: str | None) -> str:
    """Return `named`, or the model for `task`: the only one, or the default one where there are several."""
    if named:
        return named
    able = [model.name for model in models(stub) if model.task == task]
    if len(able) == 1:
        return able[0]
    preferred = [name for name in able if name in DEFAULTS]
    if preferred:
        return preferred[0]
    if able:
        raise CommandError(f"Several models here can do that: name one with --model ({', '.join(able)}).")
    raise CommandError(
        f"No model that {_DOES[task]} is ready here. `trunkline status` shows what is being loaded."
    )
