"""What REINFORCE, A2C and PPO share: rollouts are collected, judged, learned from once and forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from services.rl_policy import spaces
from services.rl_policy.algorithms import generator, networks, trajectories
from services.rl_policy.algorithms.actor_critic import ActorCritic, logged
from services.rl_policy.algorithms.algorithm import Ints, Report, State, Transitions, joined
from services.rl_policy.algorithms.inbox import Inbox
from services.rl_policy.algorithms.normaliser import Normaliser
from services.rl_policy.algorithms.options import ActorCriticOptions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.actor import ActorPolicy
from services.rl_policy.algorithms.rewards import RewardScale

LONGEST = 64
"""How many rollouts' transitions wait for the end of their episodes; older ones are given up."""


@dataclass(frozen=True)
class Rollout:
    """B steps, ready to be learned from."""

    inputs: Tensor
    actions: Tensor
    masks: Tensor
    advantages: Tensor
    returns: Tensor
    log_odds: Tensor
    """(B,): the behaviour policy's."""

    def __getitem__(self, rows: Ints) -> Rollout:
        chosen = torch.from_numpy(rows)
        return Rollout(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.returns)


@dataclass(frozen=True)
class Tools:
    """What an update works with."""

    model: ActorCritic
    optimizer: torch.optim.Optimizer
    random: np.random.Generator
    step: int


class Rule(Protocol):
    """How a rollout changes the networks."""

    @property
    def whole_episodes(self) -> bool:
        """Whether only episodes that have ended are learned from."""

    @property
    def decay(self) -> float:
        """The lambda of the advantages."""

    def update(self, rollout: Rollout, tools: Tools) -> Mapping[str, float]:
        """Learn from the rollout; return metrics."""


class OnPolicyLearner:
    """One update for each `rollout_steps` transitions, of all episodes together."""

    memory = 0

    def __init__(self, plan: Plan, rule: Rule) -> None:
        options = plan.options
        assert isinstance(options, ActorCriticOptions)  # noqa: S101 - the plan has seen to it
        self._plan, self._options, self._rule = plan, options, rule
        self._random = np.random.default_rng(plan.seed)
        self._model = ActorCritic(plan, options.hidden, self._random)
        self._optimizer = networks.adam(self._model.parameters(), eps=1e-5)
        inputs = spaces.flat_size(plan.observation)
        self._normaliser = Normaliser.fresh(inputs) if options.normalise_observations else None
        self._rewards = RewardScale(plan.discount) if options.normalise_rewards else None
        self._inbox = Inbox()
        self._pending: list[Transitions] = []
        self._step = 0
        self._updates = 0

    def observe(self, batch: Transitions) -> None:
        """Take in what comes next in the log."""
        self._inbox.put(batch)

    def learn(self) -> Report | None:
        """Make one update, if the transitions for it are there."""
        interval = self._options.rollout_steps
        while batch := self._inbox.take(interval - self._step % interval):
            self._pending.append(batch)
            self._step += len(batch)
            if self._step % interval == 0 and (due := self._due()) is not None:
                return self._update(due)
        return None

    def policy(self) -> ActorPolicy:
        """Return what acts by the networks as they are."""
        normaliser = self._normaliser.weights("observations") if self._normaliser else {}
        return ActorPolicy(self._plan, {**self._model.arrays(), **normaliser})

    def state(self) -> State:
        """Return networks, optimiser, generator, normalisers and the rollout so far."""
        pending = dict(joined(self._pending).columns()) if self._pending else {}
        return {
            **networks.saved("model", self._model, self._optimizer),
            "counters": np.asarray([self._step, self._updates]),
            "random": generator.saved(self._random),
            **(self._normaliser.weights("observations") if self._normaliser else {}),
            **(self._rewards.state() if self._rewards else {}),
            **{f"pending.{name}": column for name, column in pending.items()},
        }

    def restore(self, state: State) -> None:
        """Become the learner that `state` was taken from."""
        networks.load("model", state, self._model, self._optimizer)
        self._step, self._updates = state["counters"].tolist()
        self._random = generator.restored(state["random"])
        if self._normaliser:
            self._normaliser = Normaliser.of(state, "observations")
        if self._rewards:
            self._rewards.restore(state)
        columns = {
            name.removeprefix("pending."): state[name] for name in state if name.startswith("pending.")
        }
        self._pending = [Transitions(**columns)] if columns else []

    def remember(self, batch: Transitions) -> None:
        """Take nothing back: the state holds the rollout."""

    def _due(self) -> Transitions | None:
        """Return what is to be learned from now, and keep the rest."""
        batch = joined(self._pending)
        if not self._rule.whole_episodes:
            self._pending = []
            return batch
        ended = trajectories.finished(batch)
        if ended.sum() < self._options.rollout_steps:
            self._pending = [batch[-LONGEST * self._options.rollout_steps :]]
            return None
        self._pending = [batch[~ended]] if not ended.all() else []
        return batch[ended]

    def _update(self, batch: Transitions) -> Report:
        tools = Tools(self._model, self._optimizer, self._random, self._step)
        metrics = self._rule.update(self._rollout(batch), tools)
        if self._normaliser:
            rows = spaces.expand(self._plan.observation, batch.observation)
            self._normaliser = self._normaliser.updated(rows)
        self._updates += 1
        return Report(self._step, self._updates, metrics, publishes=True)

    @torch.no_grad()
    def _rollout(self, batch: Transitions) -> Rollout:
        model, rewards = self._model, self._rewards(batch) if self._rewards else batch.reward
        inputs = model.inputs(batch.observation, self._normaliser)
        here = model.values(inputs)
        after = model.values(model.inputs(batch.next_observation, self._normaliser))
        gains = trajectories.advantages(batch, rewards, (here, after), self._plan.discount, self._rule.decay)
        actions, masks = model.prepared(batch.action, batch.mask)
        own = model.judge(inputs, actions, masks).log_odds.double().numpy()
        log_odds = logged(batch.propensity, own)
        return Rollout(
            inputs, actions, masks, networks.tensor(gains), networks.tensor(gains + here), log_odds
        )
