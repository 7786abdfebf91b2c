"""RecommenderService: the rpcs of all ideas, and the service's status."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

from typing import Any

from trunkline.recommender.v1 import recommender_pb2
from trunkline.recommender.v1 import status_pb2 as pb

from services.recommender.messages.models import policy_message, training_message
from services.recommender.messages.times import timestamp
from services.recommender.service.events import EventRpcs
from services.recommender.service.experiments import ExperimentRpcs
from services.recommender.service.items import ItemRpcs
from services.recommender.service.models import ModelRpcs
from services.recommender.service.recommendations import RecommendationRpcs
from services.recommender.service.users import UserRpcs

SERVICE = recommender_pb2.DESCRIPTOR.services_by_name["RecommenderService"]
TRAININGS = 10


class RecommenderService(ItemRpcs, UserRpcs, EventRpcs, RecommendationRpcs, ModelRpcs, ExperimentRpcs):
    """Answers RecommenderService from a Domain."""

    async def GetStatus(self, _request: pb.GetStatusRequest, _context: Any) -> pb.GetStatusResponse:
        """Return how the recommender is."""
        store, serving = self._store, self._serving
        trainings = [each for each in serving.retraining.operations() if each.kind == "train"]
        return pb.GetStatusResponse(
            items=len(store.catalogue),
            users=await store.users.count(),
            events=await store.log.count(),
            sequence=store.log.sequence,
            version=serving.versions.live,
            trainings=map(training_message, trainings[:TRAININGS]),
            policy=policy_message(serving.retraining.policy),
            scenarios=self._domain.scenarios,
            store=store.database.dialect,
            cached_histories=store.histories.entries,
            started_at=timestamp(self._domain.started),
        )
