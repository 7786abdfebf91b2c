"""The tables, the same in SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 1
"""Raise it when tables change; a database of another version is refused, never changed silently."""

TABLES = MetaData()
SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up by itself only in a column declared INTEGER, which holds 64 bits there."""

NAME = String(255).with_variant(String(255, collation="C"), "postgresql")
"""Names in the order of their bytes, as SQLite has them."""

schema_versions = Table("schema_versions", TABLES, Column("version", Integer, primary_key=True))

id_blocks = Table(
    "id_blocks", TABLES, Column("number", SERIAL, primary_key=True), Column("taken_at", Float, nullable=False)
)

policies = Table(
    "policies",
    TABLES,
    Column("name", NAME, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", Float, nullable=False),
)

episodes = Table(
    "episodes",
    TABLES,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("policy", NAME, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("purpose", String(63), nullable=False),
    Column("variant", String(63), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("tags", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float, nullable=False),
    Column("phase", String(15), nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("total", Float, nullable=False),
    Index("episodes_by_policy", "policy", "number"),
)

# A segment is what one commit brought for one policy: `count` transitions as one value. A row for each
# transition would cost ten times as much to write, and learners read runs of them anyway.
segments = Table(
    "segments",
    TABLES,
    Column("policy", NAME, primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("lowest_decision", BigInteger, nullable=False),
    Column("highest_decision", BigInteger, nullable=False),
    Column("unsettled", Integer, nullable=False),
    Column("written_at", Float, nullable=False),
    Column("transitions", LargeBinary, nullable=False),
    Index("segments_by_decision", "policy", "highest_decision"),
)

rewards = Table(
    "rewards",
    TABLES,
    Column("sequence", SERIAL, primary_key=True),
    Column("decision_id", BigInteger, nullable=False),
    Column("part", String(255), nullable=False),
    Column("value", Float, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("received_at", Float, nullable=False),
    UniqueConstraint("decision_id", "part"),
    sqlite_autoincrement=True,
)

versions = Table(
    "versions",
    TABLES,
    Column("policy", NAME, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("manifest", Text, nullable=False),
    Column("fault", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

# In the database, not in files beside it: a version and its weights appear in one commit, and replicas on
# other machines have them at once.
version_arrays = Table(
    "version_arrays",
    TABLES,
    Column("policy", NAME, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(15), primary_key=True),
    Column("arrays", LargeBinary, nullable=False),
)

incidents = Table(
    "incidents",
    TABLES,
    Column("number", SERIAL, primary_key=True),
    Column("policy", NAME, nullable=False),
    Column("kind", String(63), nullable=False),
    Column("message", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("incidents_by_policy", "policy", "number"),
)
