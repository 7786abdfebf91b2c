"""The rpcs of experiments and online metrics."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

from typing import Any

from trunkline.recommender.v1 import experiments_pb2 as pb

from services.kit.names import check_name
from services.kit.paging import page
from services.recommender.limits import check_count
from services.recommender.messages import experiments
from services.recommender.service.domain import Rpcs

GROUPS = ("variant", "source", "position")


class ExperimentRpcs(Rpcs):
    """Experiments: begun, ended, reported on."""

    async def CreateExperiment(
        self, request: pb.CreateExperimentRequest, _context: Any
    ) -> pb.CreateExperimentResponse:
        """Begin an experiment."""
        created = await self._serving.experiments.create(experiments.experiment(request.experiment))
        return pb.CreateExperimentResponse(experiment=experiments.experiment_message(created))

    async def EndExperiment(
        self, request: pb.EndExperimentRequest, _context: Any
    ) -> pb.EndExperimentResponse:
        """End an experiment."""
        ended = await self._serving.experiments.stop(check_name("name", request.name))
        return pb.EndExperimentResponse(experiment=experiments.experiment_message(ended))

    async def ListExperiments(
        self, request: pb.ListExperimentsRequest, _context: Any
    ) -> pb.ListExperimentsResponse:
        """List the experiments."""
        listed, token = page(
            self._serving.experiments.experiments(),
            lambda each: each.name,
            request.page_size,
            request.page_token,
        )
        return pb.ListExperimentsResponse(
            experiments=map(experiments.experiment_message, listed), next_page_token=token
        )

    async def GetExperimentReport(
        self, request: pb.GetExperimentReportRequest, _context: Any
    ) -> pb.GetExperimentReportResponse:
        """Report on an experiment."""
        return experiments.report_message(
            await self._serving.experiments.report(check_name("name", request.name))
        )

    async def GetOnlineMetrics(
        self, request: pb.GetOnlineMetricsRequest, _context: Any
    ) -> pb.GetOnlineMetricsResponse:
        """Return what became of what was recommended."""
        check_count("group_by", request.group_by, 0, len(GROUPS))
        found = await self._serving.online.report(tuple(request.group_by) or GROUPS)
        return pb.GetOnlineMetricsResponse(metrics=map(experiments.metric_message, found))
