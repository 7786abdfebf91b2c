"""Retraining: when asked or by policy, beside serving, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence

from services.recommender.serving.operations import EvaluateRequest, Operation, Policy, TrainRequest


class Retraining:
    """Runs one training or evaluation at a time; others wait in line. Made by `Serving`."""

    policy: Policy

    def train(self, request: TrainRequest) -> Operation:
        """Begin a training, or queue it, and return at once. Raises ResourceExhausted (QUEUE_FULL)."""
        raise NotImplementedError

    def evaluate(self, request: EvaluateRequest) -> Operation:
        """Begin an evaluation, or queue it, and return at once. Raises as `train`."""
        raise NotImplementedError

    def operation(self, operation_id: str) -> Operation:
        """Return how an operation stands. Raises NotFound (OPERATION_NOT_FOUND)."""
        raise NotImplementedError

    def operations(self) -> Sequence[Operation]:
        """Return the latest operations, newest first."""
        raise NotImplementedError

    async def wait(self, operation_id: str) -> Operation:
        """Return the operation when it is done. Raises as `operation`."""
        raise NotImplementedError

    async def cancel(self, operation_id: str) -> Operation:
        """End an operation, by signal where it runs. Raises as `operation`."""
        raise NotImplementedError

    async def set_policy(self, policy: Policy) -> None:
        """Train by this policy from now on; it survives restarts. Raises InvalidArgument."""
        raise NotImplementedError
