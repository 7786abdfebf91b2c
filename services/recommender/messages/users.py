"""Users, and the receipt of an erasure."""

from __future__ import annotations

from collections.abc import Iterable

from trunkline.recommender.v1 import users_pb2 as pb

from services.recommender.entities import User
from services.recommender.limits import MAX_TAGS, MAX_WRITTEN, check_count, check_id, check_ids
from services.recommender.messages.items import attribute_messages, attributes, embedding
from services.recommender.messages.times import timestamp
from services.recommender.store.users import Receipt


def users(messages: Iterable[pb.User], *, low: int = 1) -> list[User]:
    """Return the users, the last of each id; raises InvalidArgument, also below `low` or above 10,000."""
    listed = list(messages)
    check_count("users", listed, low, MAX_WRITTEN)
    read = (_user(f"users[{index}]", each) for index, each in enumerate(listed))
    return list({each.user_id: each for each in read}.values())


def user_message(found: User) -> pb.User:
    """Return the message of a user."""
    return pb.User(
        user_id=found.user_id,
        attributes=attribute_messages(found.attributes),
        tags=found.tags,
        embedding=found.embedding,
    )


def receipt_message(user_id: str, receipt: Receipt, now: float) -> pb.EraseUserResponse:
    """Return the message of a receipt, made at the Unix time `now`."""
    return pb.EraseUserResponse(
        user_id=user_id,
        rows=receipt.rows,
        cached=receipt.cached,
        sessions=receipt.sessions,
        versions_to_retrain=receipt.versions,
        erased_at=timestamp(now),
    )


def _user(field: str, message: pb.User) -> User:
    return User(
        user_id=check_id(f"{field}.user_id", message.user_id),
        attributes=attributes(f"{field}.attributes", message.attributes),
        tags=check_ids(f"{field}.tags", message.tags, 0, MAX_TAGS),
        embedding=embedding(f"{field}.embedding", message.embedding),
    )
