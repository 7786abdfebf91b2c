"""Everything of one user taken out of the database, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, or_, select

from services.recommender.store.chunks import chunks
from services.recommender.store.registry import holding
from services.recommender.store.removal import Selection, remove_events
from services.recommender.store.schema import events, impressions, users
from services.recommender.store.stored import Removed


@dataclass(frozen=True, slots=True)
class Erased:
    """What was taken out."""

    rows: Mapping[str, int]
    sessions: tuple[str, ...]
    removed: Removed
    versions: tuple[str, ...]


def erase_user(connection: Connection, user_id: str, origin: int) -> Erased:
    """Delete the user, the user's events and sessions, and what was shown to either."""
    query = select(events.c.session_id).distinct()
    query = query.where(events.c.user_id == user_id, events.c.session_id != "")
    sessions = tuple(connection.scalars(query))
    removed = remove_events(connection, Selection(user_id, session_ids=sessions), origin)
    shown = connection.execute(delete(impressions).where(impressions.c.user_id == user_id)).rowcount
    nobody = or_(impressions.c.user_id == "", impressions.c.user_id == user_id)
    for part in chunks(sessions):
        theirs = impressions.c.session_id.in_(part) & nobody
        shown += connection.execute(delete(impressions).where(theirs)).rowcount
    known = connection.execute(delete(users).where(users.c.user_id == user_id)).rowcount
    versions = holding(connection, removed.first_sequence, removed.sequence) if removed.count else ()
    return Erased(
        {"events": removed.count, "impressions": shown, "users": known}, sessions, removed, versions
    )
