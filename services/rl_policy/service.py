"""PolicyService: requests into the domain's terms, one call, answers back."""

from __future__ import annotations

from trunkline.policy.v1 import policy_service_pb2 as pb
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceServicer

from services.rl_policy.parts import Parts
from services.rl_policy.service_acting import ActingRpcs
from services.rl_policy.service_data import DataRpcs
from services.rl_policy.service_learning import LearningRpcs
from services.rl_policy.service_versions import VersionRpcs

SERVICE = pb.DESCRIPTOR.services_by_name["PolicyService"]


class PolicyService(ActingRpcs, LearningRpcs, VersionRpcs, DataRpcs, PolicyServiceServicer):
    """Answers PolicyService; its rpcs stand in four files, by what they are about."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
