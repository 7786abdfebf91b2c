"""Makes a policy of the arrays that it was saved as."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from services.rl_policy.algorithms.algorithm import Array, Policy
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.actor import ActorPolicy
from services.rl_policy.algorithms.policies.linear import LinearPolicy
from services.rl_policy.algorithms.policies.q_network import QNetworkPolicy
from services.rl_policy.algorithms.policies.table import TablePolicy
from services.rl_policy.algorithms.policies.uniform import UniformPolicy

_KINDS: Mapping[str, Callable[[Plan, Mapping[str, Array]], Policy]] = {
    "table": TablePolicy.of,
    "q_network": QNetworkPolicy.of,
    "actor": ActorPolicy.of,
    "linear": LinearPolicy.of,
    "uniform": UniformPolicy.of,
}


def load(plan: Plan, weights: Mapping[str, Array]) -> Policy:
    """Return the policy whose `weights()` these are; raises ValueError where they do not fit the plan."""
    kind = _KINDS.get(bytes(weights["kind"]).decode(errors="replace")) if "kind" in weights else None
    if kind is None:
        raise ValueError(f"the weights are of no kind that is known: {', '.join(_KINDS)}")
    try:
        return kind(plan, weights)
    except (KeyError, IndexError) as error:
        raise ValueError(f"the weights lack {error}") from error
