"""What is asked for: requests into queries, with every limit of a single field."""

from __future__ import annotations

from trunkline.recommender.v1 import options_pb2
from trunkline.recommender.v1 import recommendations_pb2 as pb

from services.kit.errors import invalid
from services.recommender.entities import Event
from services.recommender.limits import (
    MAX_BOOST,
    MAX_EVENTS,
    MAX_FILTER_BYTES,
    MAX_IDS,
    MAX_RESULTS,
    MAX_RULES,
    MAX_VALUE,
    check_count,
    check_id,
    check_ids,
    check_number,
    check_results,
    check_text,
    check_word,
)
from services.recommender.messages.times import length
from services.recommender.serving.query import (
    Boost,
    By,
    Cap,
    FrequencyCap,
    LatestQuery,
    Pin,
    PopularQuery,
    Query,
    Quota,
    RankQuery,
    Rules,
    Seen,
    SimilarQuery,
)

MAX_BASKET = 100
MAX_WINDOW_S = 366 * 86_400.0
_LIKENESS: dict[int, By] = {
    pb.LIKENESS_UNSPECIFIED: "blend",
    pb.LIKENESS_BLEND: "blend",
    pb.LIKENESS_INTERACTIONS: "interactions",
    pb.LIKENESS_CONTENT: "content",
}


def recommend_query(request: pb.RecommendRequest | pb.WatchUserRequest) -> Query:
    """Return the query for a user. Raises InvalidArgument."""
    user_id = check_id("user_id", request.user_id)
    if not request.HasField("options"):
        return Query(user_id)
    return query(request.options, user_id=user_id)


def session_query(request: pb.RecommendForSessionRequest) -> Query:
    """Return the query for a session. Raises InvalidArgument."""
    if request.session_id:
        check_id("session_id", request.session_id)
    check_count("events", request.events, 0, MAX_EVENTS)
    events = tuple(_session_event(index, each) for index, each in enumerate(request.events))
    return query(request.options, session_id=request.session_id, session=events)


def query(
    options: options_pb2.RecommendOptions,
    *,
    user_id: str = "",
    session_id: str = "",
    session: tuple[Event, ...] = (),
) -> Query:
    """Return the query that the options describe. Raises InvalidArgument."""
    max_results = check_results(options.max_results)
    if options.offset + max_results > MAX_RESULTS:
        raise invalid("options.offset", f"and max_results must not exceed {MAX_RESULTS:,} together")
    return Query(
        user_id=user_id,
        session_id=session_id,
        session=session,
        scenario=options.scenario,
        max_results=max_results,
        offset=options.offset,
        filter=_filter("options.filter", options.filter),
        include_item_ids=check_ids("options.include_item_ids", options.include_item_ids, 0, MAX_IDS),
        exclude_item_ids=check_ids("options.exclude_item_ids", options.exclude_item_ids, 0, MAX_IDS),
        seen=_seen(options.seen) if options.HasField("seen") else None,
        rules=_rules(options, max_results + options.offset),
        diversity=_share(options, "diversity"),
        explore=_share(options, "explore"),
        seed=options.seed if options.HasField("seed") else None,
        explain=options.explain,
        record_impression=options.record_impressions,
        variant=options.variant,
    )


def similar_query(request: pb.SimilarItemsRequest) -> SimilarQuery:
    """Return the query for items like some. Raises InvalidArgument."""
    by = _LIKENESS.get(request.by)
    if by is None:
        raise invalid("by", f"must be one of Likeness', not {request.by}")
    return SimilarQuery(
        item_ids=check_ids("item_ids", request.item_ids, 1, MAX_BASKET),
        by=by,
        max_results=check_results(request.max_results),
        filter=_filter("filter", request.filter),
        explain=request.explain,
    )


def rank_query(request: pb.RankItemsRequest) -> RankQuery:
    """Return the query that orders items. Raises InvalidArgument."""
    if not request.user_id and not request.session_id:
        raise invalid("user_id", "or session_id must not be empty")
    for field in ("user_id", "session_id"):
        if getattr(request, field):
            check_id(field, getattr(request, field))
    return RankQuery(
        item_ids=check_ids("item_ids", request.item_ids, 1, MAX_RESULTS),
        user_id=request.user_id,
        session_id=request.session_id,
        scenario=request.scenario,
        explain=request.explain,
    )


def popular_query(request: pb.PopularRequest) -> PopularQuery:
    """Return the query for a leaderboard. Raises InvalidArgument."""
    return PopularQuery(
        half_life_s=length("half_life", request.half_life, 1.0) if request.HasField("half_life") else 0.0,
        trending=request.trending,
        category=check_text("category", request.category, MAX_FILTER_BYTES),
        max_results=check_results(request.max_results),
        filter=_filter("filter", request.filter),
    )


def latest_query(request: pb.LatestRequest) -> LatestQuery:
    """Return the query for new items. Raises InvalidArgument."""
    return LatestQuery(
        category=check_text("category", request.category, MAX_FILTER_BYTES),
        max_results=check_results(request.max_results),
        filter=_filter("filter", request.filter),
    )


def _filter(field: str, text: str) -> str:
    return check_text(field, text, MAX_FILTER_BYTES) if text else ""


def _share(options: options_pb2.RecommendOptions, field: str) -> float | None:
    if not options.HasField(field):  # type: ignore[arg-type]  # one of the optional fields
        return None
    return check_number(f"options.{field}", getattr(options, field), 0.0, 1.0)


def _seen(message: options_pb2.Seen) -> Seen:
    check_count("options.seen.event_types", message.event_types, 0, MAX_RULES)
    return Seen(
        exclude=message.exclude if message.HasField("exclude") else True,
        types=tuple(
            check_word(f"options.seen.event_types[{index}]", each)
            for index, each in enumerate(message.event_types)
        ),
        window_s=length("options.seen.window", message.window) if message.HasField("window") else 0.0,
    )


def _rules(options: options_pb2.RecommendOptions, last: int) -> Rules:
    for field in ("pins", "boosts", "quotas", "caps"):
        check_count(f"options.{field}", getattr(options, field), 0, MAX_RULES)
    return Rules(
        pins=tuple(_pin(f"options.pins[{index}]", each, last) for index, each in enumerate(options.pins)),
        boosts=tuple(_boost(f"options.boosts[{index}]", each) for index, each in enumerate(options.boosts)),
        quotas=tuple(_quota(f"options.quotas[{index}]", each) for index, each in enumerate(options.quotas)),
        caps=tuple(_cap(f"options.caps[{index}]", each) for index, each in enumerate(options.caps)),
        frequency=_frequency(options.frequency_cap) if options.HasField("frequency_cap") else None,
    )


def _pin(field: str, message: options_pb2.Pin, last: int) -> Pin:
    position = int(check_number(f"{field}.position", message.position, 1, last))
    return Pin(check_id(f"{field}.item_id", message.item_id), position)


def _boost(field: str, message: options_pb2.Boost) -> Boost:
    amount = check_number(f"{field}.amount", message.amount, -MAX_BOOST, MAX_BOOST)
    return Boost(_required(f"{field}.filter", message.filter), amount)


def _quota(field: str, message: options_pb2.Quota) -> Quota:
    at_most = message.at_most if message.HasField("at_most") else None
    check_number(f"{field}.at_least", message.at_least, 0, MAX_RESULTS if at_most is None else at_most)
    return Quota(_required(f"{field}.filter", message.filter), message.at_least, at_most)


def _cap(field: str, message: options_pb2.Cap) -> Cap:
    at_most = int(check_number(f"{field}.at_most", message.at_most, 1, MAX_RESULTS))
    return Cap(check_word(f"{field}.attribute", message.attribute), at_most)


def _frequency(message: options_pb2.FrequencyCap) -> FrequencyCap:
    times = int(check_number("options.frequency_cap.times", message.times, 1, MAX_VALUE))
    return FrequencyCap(times, length("options.frequency_cap.window", message.window, 1e-9, MAX_WINDOW_S))


def _required(field: str, text: str) -> str:
    if not text.strip():
        raise invalid(field, "must not be empty")
    return check_text(field, text, MAX_FILTER_BYTES)


def _session_event(index: int, message: pb.SessionEvent) -> Event:
    value = message.value if message.HasField("value") else 1.0
    event_type = message.event_type or "view"
    return Event(
        event_id="",
        event_type=check_word(f"events[{index}].event_type", event_type),
        item_id=check_id(f"events[{index}].item_id", message.item_id),
        value=check_number(f"events[{index}].value", value, -MAX_VALUE, MAX_VALUE),
    )
