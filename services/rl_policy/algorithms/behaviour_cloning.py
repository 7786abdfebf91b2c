"""Behaviour cloning: learns to do what the log did (Pomerleau: ALVINN, 1989).

    loss = mean of -log pi(a | s)

over random batches of the log. Masks hold: what was not allowed takes no part in the probabilities.
"""

from __future__ import annotations

import numpy as np

from services.rl_policy import spaces
from services.rl_policy.algorithms import generator, networks
from services.rl_policy.algorithms.actor_critic import ActorCritic
from services.rl_policy.algorithms.algorithm import Report, State, Transitions
from services.rl_policy.algorithms.inbox import Inbox
from services.rl_policy.algorithms.normaliser import Normaliser
from services.rl_policy.algorithms.options import CloningOptions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.policies.actor import ActorPolicy
from services.rl_policy.algorithms.replay import Replay


class CloningLearner:
    """Every `train_interval` transitions `gradient_steps` updates."""

    def __init__(self, plan: Plan) -> None:
        options = plan.options
        assert isinstance(options, CloningOptions)  # noqa: S101 - the plan has seen to it
        self._plan, self._options = plan, options
        self._random = np.random.default_rng(plan.seed)
        self._model = ActorCritic(plan, options.hidden, self._random)
        self._optimizer = networks.adam(self._model.acting(), weight_decay=options.weight_decay)
        inputs = spaces.flat_size(plan.observation)
        self._normaliser = Normaliser.fresh(inputs) if options.normalise_observations else None
        self._replay = Replay(options.buffer_size, plan.discount)
        self._inbox = Inbox()
        self._step = 0
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
            self._replay.add(batch)
            self._step += len(batch)
            if self._step % interval == 0:
                return self._round()
        return None

    def policy(self) -> ActorPolicy:
        """Return what acts by the network as it is; it knows no values."""
        actor = {name: each for name, each in self._model.arrays().items() if not name.startswith("critic.")}
        normaliser = self._normaliser.weights("observations") if self._normaliser else {}
        return ActorPolicy(self._plan, {**actor, **normaliser})

    def state(self) -> State:
        """Return network, optimiser, counters, generator and normaliser."""
        return {
            **networks.saved("model", self._model, self._optimizer),
            "counters": np.asarray([self._step, self._updates]),
            "random": generator.saved(self._random),
            **(self._normaliser.weights("observations") if self._normaliser else {}),
        }

    def restore(self, state: State) -> None:
        """Become the learner that `state` was taken from; the replay comes back by `remember`."""
        networks.load("model", state, self._model, self._optimizer)
        self._step, self._updates = state["counters"].tolist()
        self._random = generator.restored(state["random"])
        if self._normaliser:
            self._normaliser = Normaliser.of(state, "observations")
        self._replay.seen = max(0, self._step - self._options.buffer_size)

    def remember(self, batch: Transitions) -> None:
        """Fill the replay again."""
        self._replay.add(batch)

    def _round(self) -> Report:
        if self._normaliser:
            latest = self._replay.latest(self._options.train_interval)
            self._normaliser = self._normaliser.updated(spaces.expand(self._plan.observation, latest))
        losses = [self._update() for _ in range(self._options.gradient_steps)]
        self._updates += 1
        return Report(self._step, self._updates, {"loss": float(np.mean(losses))}, publishes=True)

    def _update(self) -> float:
        options = self._options
        batch = self._replay.batch(self._random.integers(len(self._replay), size=options.batch_size))
        actions, masks = self._model.prepared(batch.action, batch.mask)
        inputs = self._model.inputs(batch.observation, self._normaliser)
        loss = -self._model.judge(inputs, actions, masks).log_odds.mean()
        return networks.step(
            self._optimizer, loss, options.learning_rate.at(self._step), options.max_grad_norm
        )


def learner(plan: Plan) -> CloningLearner:
    """Return a learner that knows nothing yet."""
    return CloningLearner(plan)
