"""DQN (Mnih et al.: Human-level control through deep reinforcement learning, 2015), and what made it better.

    loss = Huber(Q(s, a) - (r + gamma * max over a' of Q_target(s', a')))

Double (van Hasselt, Guez, Silver, 2016): Q chooses a', Q_target says what it is worth. Dueling (Wang et al.,
2016): a value and advantages instead of values. Targets of n steps (Sutton, 1988) and prioritised replay
(Schaul et al., 2016) come with `replay` and `priorities`. The next mask holds in the target.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from services.rl_policy import spaces
from services.rl_policy.algorithms import generator, networks
from services.rl_policy.algorithms.algorithm import Floats, Report, State, Transitions
from services.rl_policy.algorithms.inbox import Inbox
from services.rl_policy.algorithms.networks import TINY
from services.rl_policy.algorithms.normaliser import Normaliser
from services.rl_policy.algorithms.options import DqnOptions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.heads import count_of
from services.rl_policy.algorithms.policies.q_network import QNetworkPolicy
from services.rl_policy.algorithms.priorities import Priorities
from services.rl_policy.algorithms.replay import Batch, Replay


class DqnLearner:
    """Every `train_interval` transitions, once `learning_starts` are there, `gradient_steps` updates."""

    def __init__(self, plan: Plan) -> None:
        options = plan.options
        assert isinstance(options, DqnOptions)  # noqa: S101 - the plan has seen to it
        self._plan, self._options = plan, options
        self._actions = count_of(plan.action)
        self._random = np.random.default_rng(plan.seed)
        inputs, outputs = spaces.flat_size(plan.observation), self._actions + options.dueling
        sizes = (inputs, *options.hidden, outputs)
        self._network = networks.mlp(sizes, "relu", self._random, None)
        self._target = networks.mlp(sizes, "relu", self._random, None)
        self._target.load_state_dict(self._network.state_dict())
        self._optimizer = networks.adam(self._network.parameters())
        self._replay = Replay(options.buffer_size, plan.discount, options.n_step)
        self._priorities = (
            Priorities(options.buffer_size, options.priority_alpha) if options.prioritised else None
        )
        self._normaliser = Normaliser.fresh(inputs) if options.normalise_observations else None
        self._inbox = Inbox()
        self._step = 0
        self._copied = 0
        self._updates = 0

    @property
    def memory(self) -> int:
        """The replay's size."""
        return self._options.buffer_size

    def observe(self, batch: Transitions) -> None:
        """Take in what comes next in the log."""
        self._inbox.put(batch)

    def learn(self) -> Report | None:
        """Make one round of updates, if the transitions for it are there."""
        interval = self._options.train_interval
        while batch := self._inbox.take(interval - self._step % interval):
            self._store(batch)
            if self._step % interval == 0 and self._normaliser:
                rows = spaces.expand(self._plan.observation, self._replay.latest(interval))
                self._normaliser = self._normaliser.updated(rows)
            if self._step % interval == 0 and self._step > self._options.learning_starts:
                return self._round()
        return None

    def policy(self) -> QNetworkPolicy:
        """Return what acts by the network as it is."""
        weights = {
            **networks.arrays(self._network, "q"),
            "epsilon": np.asarray([self._options.epsilon.at(self._step)]),
            **(self._normaliser.weights("observations") if self._normaliser else {}),
        }
        return QNetworkPolicy.of(self._plan, weights)

    def state(self) -> State:
        """Return networks, optimiser, counters, generator, priorities and normaliser."""
        return {
            **networks.saved("network", self._network, self._optimizer),
            **networks.saved("target", self._target),
            "counters": np.asarray([self._step, self._copied, self._updates]),
            "random": generator.saved(self._random),
            **({"priorities": self._priorities.state()} if self._priorities else {}),
            **(self._normaliser.weights("observations") if self._normaliser else {}),
        }

    def restore(self, state: State) -> None:
        """Become the learner that `state` was taken from; the replay comes back by `remember`."""
        networks.load("network", state, self._network, self._optimizer)
        networks.load("target", state, self._target)
        self._step, self._copied, self._updates = np.asarray(state["counters"]).tolist()
        self._random = generator.restored(np.asarray(state["random"]))
        if self._priorities:
            self._priorities.restore(np.asarray(state["priorities"]))
        if self._normaliser:
            self._normaliser = Normaliser.of(state, "observations")
        self._replay.seen = max(0, self._step - self._options.buffer_size)

    def remember(self, batch: Transitions) -> None:
        """Fill the replay again."""
        self._replay.add(batch)

    def _store(self, batch: Transitions) -> None:
        rows = self._replay.add(batch)
        if self._priorities:
            self._priorities.add(rows)
        self._step += len(batch)

    def _round(self) -> Report:
        if self._step - self._copied >= self._options.target_interval:
            self._target.load_state_dict(self._network.state_dict())
            self._copied = self._step
        losses = [self._update() for _ in range(self._options.gradient_steps)]
        self._updates += 1
        metrics = {"loss": float(np.mean(losses)), "epsilon": self._options.epsilon.at(self._step)}
        return Report(self._step, self._updates, metrics, publishes=True)

    def _update(self) -> float:
        batch, weights = self._draw()
        chosen = torch.from_numpy(batch.action.astype(np.int64))
        values = self._values(self._network, batch.observation).gather(1, chosen)[:, 0]
        target = self._targets(batch)
        errors = nn.functional.smooth_l1_loss(values, target, reduction="none")
        loss = (errors * weights).mean() if weights is not None else errors.mean()
        rate = self._options.learning_rate.at(self._step)
        value = networks.step(self._optimizer, loss, rate, self._options.max_grad_norm)
        if self._priorities:
            self._priorities.update(batch.rows, (target - values.detach()).numpy().astype(np.float64))
        return value

    def _draw(self) -> tuple[Batch, Tensor | None]:
        """Return a batch, and what its rows' errors weigh where they were not drawn uniformly."""
        count, options = len(self._replay), self._options
        if self._priorities is None:
            return self._replay.batch(self._random.integers(count, size=options.batch_size)), None
        rows = self._priorities.draw(self._random.random(options.batch_size))
        weights = self._priorities.weights(rows, count, options.priority_beta.at(self._step))
        return self._replay.batch(rows), networks.tensor(weights)

    @torch.no_grad()
    def _targets(self, batch: Batch) -> Tensor:
        forbidden = torch.from_numpy(~batch.next_mask)
        values = self._values(self._target, batch.next_observation)
        judge = self._values(self._network, batch.next_observation) if self._options.double else values
        best = judge.masked_fill(forbidden, TINY).argmax(dim=1, keepdim=True)
        following = values.gather(1, best)[:, 0]
        return networks.tensor(batch.reward) + networks.tensor(batch.discount) * following

    def _values(self, network: nn.Sequential, observations: Floats) -> Tensor:
        rows = spaces.expand(self._plan.observation, observations)
        outputs: Tensor = network(networks.tensor(self._normaliser(rows) if self._normaliser else rows))
        if not self._options.dueling:
            return outputs
        advantages = outputs[:, 1:]
        return outputs[:, :1] + advantages - advantages.mean(dim=1, keepdim=True)


def learner(plan: Plan) -> DqnLearner:
    """Return a learner that knows nothing yet."""
    return DqnLearner(plan)
