"""Episodes as messages."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp
from trunkline.policy.v1 import episodes_pb2 as pb

from services.kit.errors import NotFound, Reason, TrunklineError, invalid
from services.rl_policy.algorithms.algorithm import Mode
from services.rl_policy.episodes import Run, Stage
from services.rl_policy.play import Beginning
from services.rl_policy.runs import record_of
from services.rl_policy.store.records import Episode, Phase

MAX_TAGS = 16
MAX_TAG_BYTES = 63
MAX_REQUEST_ID_BYTES = 64
MAX_NUMBER = 1 << 53

_STAGES: Mapping[int, Stage] = {
    pb.EPISODE_STAGE_UNSPECIFIED: Stage.TRAINING,
    pb.EPISODE_STAGE_TRAINING: Stage.TRAINING,
    pb.EPISODE_STAGE_LIVE: Stage.LIVE,
    pb.EPISODE_STAGE_EVALUATION: Stage.EVALUATION,
}
_STAGE_NUMBERS = {
    Stage.TRAINING: pb.EPISODE_STAGE_TRAINING,
    Stage.LIVE: pb.EPISODE_STAGE_LIVE,
    Stage.EVALUATION: pb.EPISODE_STAGE_EVALUATION,
}
_MODES: Mapping[int, Mode | None] = {
    pb.ACT_MODE_UNSPECIFIED: None,
    pb.ACT_MODE_EXPLORE: Mode.EXPLORE,
    pb.ACT_MODE_GREEDY: Mode.GREEDY,
}
_ENDED = {
    Phase.TERMINATED: pb.EPISODE_STATE_TERMINATED,
    Phase.TRUNCATED: pb.EPISODE_STATE_TRUNCATED,
    Phase.ABANDONED: pb.EPISODE_STATE_ABANDONED,
}


def beginning(request: pb.StartEpisodeRequest) -> Beginning:
    """Return how an episode is to begin."""
    return Beginning(
        request.policy,
        stage_of(request.stage, "stage"),
        request.pinned_version if request.HasField("pinned_version") else None,
        request.seed if request.HasField("seed") else None,
        check_tags(request.tags, "tags"),
        check_request_id(request.request_id),
    )


def stage_of(value: int, field: str) -> Stage:
    """Return a stage; unset is training."""
    if value not in _STAGES:
        raise invalid(field, f"must be one of EpisodeStage, not {value}")
    return _STAGES[value]


def mode_of(value: int, field: str) -> Mode | None:
    """Return a mode; None where it is unset."""
    if value not in _MODES:
        raise invalid(field, f"must be one of ActMode, not {value}")
    return _MODES[value]


def check_tags(tags: Mapping[str, str], field: str) -> dict[str, str]:
    """Return tags; raises InvalidArgument where there are too many, or too long ones."""
    if len(tags) > MAX_TAGS or any(
        len(each.encode()) > MAX_TAG_BYTES for pair in tags.items() for each in pair
    ):
        raise invalid(field, f"must be at most {MAX_TAGS}, of {MAX_TAG_BYTES} bytes each")
    return dict(tags)


def check_request_id(request_id: str) -> str:
    """Return a request id; raises InvalidArgument where it is too long."""
    if len(request_id.encode()) > MAX_REQUEST_ID_BYTES:
        raise invalid("request_id", f"must have at most {MAX_REQUEST_ID_BYTES} bytes")
    return request_id


def check_number(number: int) -> int:
    """Return an episode's id; raises NotFound for what cannot be one."""
    if not 0 < number < MAX_NUMBER:
        named = {"episode_id": str(number)}
        raise NotFound(Reason.EPISODE_NOT_FOUND, f"there is no episode {number}", metadata=named)
    return number


def encode_episode(run: Run) -> pb.Episode:
    """Return an episode that runs."""
    return encode_record(record_of(run), decided=run.decision is not None)


def encode_record(episode: Episode, *, decided: bool) -> pb.Episode:
    """Return an episode; `decided`: it waits for an outcome."""
    message = pb.Episode(
        episode_id=episode.number,
        policy=episode.policy,
        policy_version=episode.version,
        stage=_STAGE_NUMBERS[Stage(episode.purpose)],
        variant=episode.variant,
        state=encode_state(episode.phase, decided),
        steps=episode.steps,
        total_reward=episode.total,
        tags=episode.tags,
        start_time=timestamp(episode.started_at),
    )
    if episode.ended_at:
        message.end_time.CopyFrom(timestamp(episode.ended_at))
    return message


def encode_state(phase: Phase, decided: bool) -> pb.EpisodeState.ValueType:  # noqa: FBT001 - reads as a sentence
    """Return where an episode is."""
    running = pb.EPISODE_STATE_DECIDED if decided else pb.EPISODE_STATE_DECIDING
    return _ENDED.get(phase, running)


def failure(error: TrunklineError) -> pb.ActFailure:
    """Return why one act of a batch failed."""
    return pb.ActFailure(
        code=error.code, reason=str(error.reason), message=error.message, metadata=error.metadata
    )


def timestamp(seconds: float) -> Timestamp:
    """Return a moment, in Unix seconds, as a Timestamp."""
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))
