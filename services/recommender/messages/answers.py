"""What is answered: lists, and how they were made, as messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from trunkline.recommender.v1 import recommendations_pb2 as pb

from services.recommender.entities import Item
from services.recommender.messages.items import item_message
from services.recommender.messages.times import duration, timestamp
from services.recommender.serving.answer import (
    Explanation,
    Prediction,
    Recommendations,
    Recommended,
    SimilarUser,
    Timings,
)

_FALLBACKS = {
    "": pb.FALLBACK_UNSPECIFIED,
    "cold_start": pb.FALLBACK_COLD_START,
    "not_personal": pb.FALLBACK_NOT_PERSONAL,
    "no_model": pb.FALLBACK_NO_MODEL,
}


def recommendations(
    items: Iterable[Recommended], entry: Callable[[int], Item] | None = None
) -> list[pb.Recommendation]:
    """Return the messages of a list; `entry` returns the item of a row, where items are wanted too."""
    if entry is None:
        return [_recommendation(each) for each in items]
    return [_whole(each, entry) for each in items]


def provenance(made: Recommendations, *, timings: bool = False) -> pb.Provenance:
    """Return how a list was made, with where the time went if `timings`."""
    message = pb.Provenance(
        recommendation_id=made.recommendation_id,
        model_version=made.model_version,
        scenario=made.scenario,
        experiment=made.experiment,
        variant=made.variant,
        fallback=_FALLBACKS[made.fallback],
    )
    if timings:
        message.timings.CopyFrom(_timings(made.timings))
    return message


def ranking(user_id: str, made: Recommendations) -> pb.UserRanking:
    """Return a user's list in a batch."""
    return pb.UserRanking(
        user_id=user_id,
        item_ids=[each.item_id for each in made.items],
        scores=[each.score for each in made.items],
        fallback=_FALLBACKS[made.fallback],
    )


def scored_items(items: Iterable[Recommended]) -> list[pb.ScoredItem]:
    """Return items with their scores."""
    return [pb.ScoredItem(item_id=each.item_id, score=each.score) for each in items]


def dated_items(items: Iterable[Recommended], time: Callable[[int], float]) -> list[pb.DatedItem]:
    """Return items with their times; `time` returns that of a row, in Unix seconds."""
    return [pb.DatedItem(item_id=each.item_id, timestamp=timestamp(time(each.row))) for each in items]


def scored_users(users: Iterable[SimilarUser]) -> list[pb.ScoredUser]:
    """Return users with their likeness."""
    return [pb.ScoredUser(user_id=each.user_id, score=each.similarity) for each in users]


def predictions(predicted: Sequence[Prediction]) -> list[pb.Prediction]:
    """Return predicted values."""
    return [pb.Prediction(item_id=each.item_id, value=each.value, known=each.known) for each in predicted]


def _recommendation(each: Recommended) -> pb.Recommendation:
    if each.explanation is None:
        return pb.Recommendation(item_id=each.item_id, score=each.score, rank=each.rank, source=each.source)
    return pb.Recommendation(
        item_id=each.item_id,
        score=each.score,
        rank=each.rank,
        source=each.source,
        explanation=_explanation(each.explanation),
    )


def _whole(each: Recommended, entry: Callable[[int], Item]) -> pb.Recommendation:
    message = _recommendation(each)
    message.item.CopyFrom(item_message(entry(each.row)))
    return message


def _explanation(explanation: Explanation) -> pb.Explanation:
    because = [pb.Contribution(item_id=each.item_id, weight=each.weight) for each in explanation.because]
    return pb.Explanation(because=because, matched=explanation.matched, text=explanation.text)


def _timings(timings: Timings) -> pb.Timings:
    return pb.Timings(
        history=duration(timings.history_s),
        queue=duration(timings.queue_s),
        scoring=duration(timings.scoring_s),
        rules=duration(timings.rules_s),
    )
