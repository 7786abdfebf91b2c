"""A monitor whose one trace arrives piece by piece, as spans do."""

# ruff: noqa: N802 - rpcs carry the names of the contract

from __future__ import annotations

from typing import Any

from trunkline.monitor.v1.monitor_pb2 import (
    GetMeshRequest,
    GetMeshResponse,
    GetTraceRequest,
    GetTraceResponse,
    Mesh,
    ServiceInstance,
    Span,
)
from trunkline.monitor.v1.monitor_pb2_grpc import MonitorServiceServicer

from gateway.commands import sights
from services.kit.errors import NotFound, Reason
from tests.unit.cli.double import EMBEDDER, GENERATOR, refuse

SPANS = (
    ("gateway", "ingress", ""),
    ("front", "trunkline.inference.v1.InferenceService/Generate", "1"),
    ("tokenizer", "trunkline.tokenizer.v1.TokenizerService/Encode", "2"),
    ("inference_worker", "trunkline.worker.v1.WorkerService/Generate", "2"),
    ("inference_worker", "engine.decode", "4"),
)


class MonitorDouble(MonitorServiceServicer):
    """Has one span more of any trace each time that it is asked, up to `spans` of SPANS.

    It has heard of calls from the second time on that it is asked for the mesh.
    """

    def __init__(self, spans: int = len(SPANS)) -> None:
        self._spans = spans
        self._arrived = 0
        self.heard = 0

    def GetMesh(self, request: GetMeshRequest, context: Any) -> GetMeshResponse:
        mesh = Mesh(services=[ServiceInstance(service="front", instance="here:1")])
        for model in (GENERATOR, EMBEDDER):
            mesh.models.add(model=model, version="1", requests=self.heard)
        for rpc in sights.CALLED:
            mesh.rpcs.add(service="front", rpc=rpc, calls=self.heard)
        self.heard = 1
        return GetMeshResponse(mesh=mesh)

    def GetTrace(self, request: GetTraceRequest, context: Any) -> GetTraceResponse:
        if self._arrived == 0:
            self._arrived = 1
            refuse(context, NotFound(Reason.TRACE_NOT_FOUND, "no such trace"))
        spans = [
            Span(span_id=str(number), parent_span_id=parent, service=service, name=name, kind="server")
            for number, (service, name, parent) in enumerate(SPANS[: self._arrived], 1)
        ]
        self._arrived = min(self._arrived + 1, self._spans)
        return GetTraceResponse(trace_id=request.trace_id, spans=spans)
