"""What is to be estimated of a policy, by which estimator, and how sure it must be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.kit.errors import invalid


class Method(StrEnum):
    """The estimators: the names of `trunkline.policy.v1.OffPolicyMethod`, in lower case, without prefix."""

    IPS = "ips"
    SNIPS = "snips"
    PDIS = "pdis"
    DIRECT = "direct"
    DOUBLY_ROBUST = "doubly_robust"
    FQE = "fqe"


@dataclass(frozen=True)
class Question:
    """Which estimate to make."""

    method: Method
    discount: float
    confidence: float = 0.95
    """How often intervals so made hold the truth."""
    min_effective: float = 50.0
    """The least effective sample size that is answered for."""

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1:
            raise invalid("off_policy.confidence", f"must be above 0.5 and below 1, not {self.confidence}")
        if not 0 <= self.discount <= 1:
            raise invalid("off_policy.discount", f"must be from 0 to 1, not {self.discount}")
        if not 0 <= self.min_effective < float("inf"):
            raise invalid("off_policy.min_effective_sample_size", "must be finite, 0 or more")
