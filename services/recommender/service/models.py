"""The rpcs of models: trained, evaluated, published, promoted."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from trunkline.recommender.v1 import evaluation_pb2
from trunkline.recommender.v1 import models_pb2 as pb

from services.kit.errors import Aborted, FailedPrecondition, Reason, invalid
from services.kit.names import check_name
from services.kit.paging import page
from services.recommender.messages import models
from services.recommender.messages.times import seconds
from services.recommender.publishing import publish
from services.recommender.service.domain import Rpcs
from services.recommender.service.publishing import published
from services.recommender.serving.operations import Operation
from services.recommender.store.interactions import Window, pairs


class ModelRpcs(Rpcs):
    """Versions of the models, and what makes them."""

    async def Train(self, request: pb.TrainRequest, _context: Any) -> pb.TrainResponse:
        """Train a version."""
        request_id = check_name("request_id", request.request_id)
        wanted = models.train_request(request)
        content = request.SerializeToString(deterministic=True)
        retraining = self._serving.retraining
        operation_id = self._domain.requests.once(
            request_id, content, lambda: retraining.train(wanted).operation_id
        )
        operation = retraining.operation(operation_id)
        if request.wait:
            operation = await retraining.wait(operation_id)
            _refuse_failure(operation)
        return pb.TrainResponse(training=models.training_message(operation))

    async def GetTraining(self, request: pb.GetTrainingRequest, _context: Any) -> pb.GetTrainingResponse:
        """Return a training."""
        if not request.training_id:
            raise invalid("training_id", "must not be empty")
        operation = self._serving.retraining.operation(request.training_id)
        return pb.GetTrainingResponse(training=models.training_message(operation))

    async def Evaluate(
        self, request: evaluation_pb2.EvaluateRequest, _context: Any
    ) -> evaluation_pb2.EvaluateResponse:
        """Evaluate algorithms; a call that is cancelled ends it."""
        wanted = models.evaluate_request(request)
        operation = self._serving.retraining.evaluate(wanted)
        try:
            operation = await self._serving.retraining.wait(operation.operation_id)
        finally:
            if not operation.done:
                await self._serving.retraining.cancel(operation.operation_id)
        _refuse_failure(operation)
        return models.evaluation_message(operation, wanted)

    async def ListModels(self, request: pb.ListModelsRequest, _context: Any) -> pb.ListModelsResponse:
        """List the versions, newest first."""
        known = await self._store.registry.list()
        order = {each.name: f"{place:08}" for place, each in enumerate(known)}
        listed, token = page(known, lambda each: order[each.name], request.page_size, request.page_token)
        return pb.ListModelsResponse(versions=map(models.version_message, listed), next_page_token=token)

    async def Promote(self, request: pb.PromoteRequest, _context: Any) -> pb.PromoteResponse:
        """Serve a version."""
        version = check_name("version", request.version)
        gate = models.gate("gate", request.gate) if request.HasField("gate") else None
        previous = self._serving.versions.live
        await self._serving.versions.promote(version, gate)
        promoted = await self._store.registry.get(version)
        return pb.PromoteResponse(version=models.version_message(promoted), previous_version=previous)

    async def Rollback(self, request: pb.RollbackRequest, _context: Any) -> pb.RollbackResponse:
        """Serve the version that served before."""
        version, live = check_name("version", request.version), self._serving.versions.live
        if version != live:
            raise Aborted(
                Reason.REVISION_MISMATCH,
                f"{live or 'no version'} serves, not {version}",
                metadata={"expected": version, "actual": live},
            )
        name = await self._serving.versions.rollback()
        return pb.RollbackResponse(version=models.version_message(await self._store.registry.get(name)))

    async def SetRetrainPolicy(
        self, request: pb.SetRetrainPolicyRequest, _context: Any
    ) -> pb.SetRetrainPolicyResponse:
        """Say when to train without being asked."""
        if not request.HasField("policy"):
            raise invalid("policy", "must be set")
        await self._serving.retraining.set_policy(models.policy(request.policy))
        return pb.SetRetrainPolicyResponse(policy=models.policy_message(self._serving.retraining.policy))

    async def ExportInteractions(
        self, request: pb.ExportInteractionsRequest, _context: Any
    ) -> AsyncIterator[pb.ExportInteractionsResponse]:
        """Export the interactions that a training would read."""
        window = Window(
            since=seconds("since", request.since) if request.HasField("since") else 0.0,
            until=seconds("until", request.until) if request.HasField("until") else 0.0,
        )
        async for batch in pairs(self._store.database, self._domain.preferences, window):
            yield pb.ExportInteractionsResponse(
                user_ids=[each.user_id for each in batch],
                item_ids=[each.item_id for each in batch],
                weights=[each.weight for each in batch],
                times=[each.timestamp for each in batch],
            )

    async def PublishModel(
        self, requests: AsyncIterator[pb.PublishModelRequest], _context: Any
    ) -> pb.PublishModelResponse:
        """Publish a model that was trained elsewhere."""
        model = await published(requests)
        version = await publish(model, self._store)
        if model.promote:
            await self._serving.versions.promote(version)
        found = await self._store.registry.get(version)
        return pb.PublishModelResponse(version=models.version_message(found))


def _refuse_failure(operation: Operation) -> None:
    if operation.state != "succeeded":
        raise FailedPrecondition(
            Reason.TRAINING_FAILED,
            f"the {operation.kind} could not be done: {operation.error or operation.state}",
            metadata={"training_id": operation.operation_id},
        )
