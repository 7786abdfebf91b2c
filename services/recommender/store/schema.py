"""The tables, the same on SQLite and PostgreSQL. Times are Unix seconds; 0 means none.

Nothing is numbered by the database: whoever writes holds the one write lock, so numbers (an event's sequence,
an item's row, a change) grow in the order of commits, in every replica.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

VERSION = 1
"""Of the schema; a database with a newer one is refused."""

METADATA = MetaData()

# The last number given of each kind: `sequence`, `row`, `change`; and `schema`, its version.
marks = Table(
    "marks",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

items = Table(
    "items",
    METADATA,
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("item_id", Text, nullable=False, unique=True),
    Column("deleted", Boolean, nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("timestamp", Double, nullable=False),
    Column("valid_from", Double, nullable=False),
    Column("valid_until", Double, nullable=False),
    # Categories, tags, text and attributes as JSON.
    Column("body", Text, nullable=False),
    # float32, little-endian.
    Column("embedding", LargeBinary, nullable=False),
    # Which write touched it last, and whose: replicas read what is newer than they know.
    Column("change", BigInteger, nullable=False),
    Column("origin", BigInteger, nullable=False),
    Index("items_by_change", "change"),
)

users = Table(
    "users",
    METADATA,
    Column("user_id", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    Column("updated", Double, nullable=False),
)

events = Table(
    "events",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("event_type", Text, nullable=False),
    Column("item_row", Integer, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("timestamp", Double, nullable=False),
    Column("recommendation_id", Text, nullable=False),
    Column("position", Integer, nullable=False),
    # JSON; empty where nothing was shown beside it.
    Column("impressions", Text, nullable=False),
    Column("mode", SmallInteger, nullable=False),
    # A later event of the same user, item and type replaced it. Its id stays taken.
    Column("superseded", Boolean, nullable=False),
    Column("origin", BigInteger, nullable=False),
    Index(
        "events_by_user",
        "user_id",
        "sequence",
        sqlite_where=text("user_id <> ''"),
        postgresql_where=text("user_id <> ''"),
    ),
    Index(
        "events_by_session",
        "session_id",
        "sequence",
        sqlite_where=text("session_id <> ''"),
        postgresql_where=text("session_id <> ''"),
    ),
)

impressions = Table(
    "impressions",
    METADATA,
    Column("recommendation_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("timestamp", Double, nullable=False),
    # Scenario, experiment, variant, version, rows and sources as JSON.
    Column("body", Text, nullable=False),
    Index(
        "impressions_by_user",
        "user_id",
        "timestamp",
        sqlite_where=text("user_id <> ''"),
        postgresql_where=text("user_id <> ''"),
    ),
    Index("impressions_by_time", "timestamp"),
)

versions = Table(
    "versions",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("promoted", Double, nullable=False),
    # The last event that it was trained from.
    Column("sequence", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("manifest", Text, nullable=False),
)

experiments = Table(
    "experiments",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("created", Double, nullable=False),
    Column("ended", Double, nullable=False),
    Column("body", Text, nullable=False),
)

# Small settings that the service itself changes.
documents = Table(
    "documents",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

# That events were removed, not whose: replicas drop what they cached, versions learn that they are to be
# trained again. It takes a number of the log, so that whoever reads the log does so before it or after it.
erasures = Table(
    "erasures",
    METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("timestamp", Double, nullable=False),
    # Of the first event that was removed.
    Column("first_sequence", BigInteger, nullable=False),
    Column("origin", BigInteger, nullable=False),
)
