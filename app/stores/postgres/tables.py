"""The schema as queries use it. `migrations/` makes it; a test holds the two together.

Ids sort by byte order (COLLATE "C") whatever the database's own collation, so that paging is the same everywhere.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()
ID = Text(collation="C")
TIME = DateTime(timezone=True)


def required(name: str, kind: Any, default: str | None = None) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=None if default is None else text(default))


items = Table(
    "items", metadata,
    Column("item_id", ID, primary_key=True),
    required("described", Boolean, "false"),  # false: a stub, known only from events
    required("revision", BigInteger, "0"),  # catalogue revision of the last write; 0: never described
    Column("title", Text), Column("description", Text),
    required("category", ARRAY(Text), "'{}'"),
    Column("brand", Text), Column("price", Double), Column("currency", Text),
    required("tags", ARRAY(Text), "'{}'"), required("attributes", JSONB, "'{}'"),
    Column("image_url", Text), Column("locale", Text),
    required("available", Boolean, "true"),
    Column("published_at", TIME), Column("expires_at", TIME),
    required("created_at", TIME, "now()"), required("updated_at", TIME, "now()"),
    Index("items_by_revision", "revision", "item_id", postgresql_where=text("revision > 0")),
)  # fmt: skip

users = Table(
    "users", metadata,
    Column("user_id", ID, primary_key=True),
    required("described", Boolean, "false"),
    Column("text", Text),  # encrypted with the key of this name, plain where there is none
    Column("text_key", Text),
    Column("age", Integer), Column("gender", Text), Column("occupation", Text),
    Column("country", Text), Column("locale", Text),
    required("tags", ARRAY(Text), "'{}'"), required("attributes", JSONB, "'{}'"),
    required("personalize", Boolean, "true"), required("train", Boolean, "true"),
    required("created_at", TIME, "now()"), required("updated_at", TIME, "now()"),
)  # fmt: skip

events = Table(
    "events", metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    required("event_id", ID), required("type", Text), required("item_id", ID),
    Column("user_id", ID), Column("session_id", ID),
    Column("scenario", Text), Column("recommendation_id", Text), Column("position", Integer),
    Column("value", Double), Column("quantity", Double), Column("currency", Text), Column("order_id", Text),
    required("occurred_at", TIME), required("received_at", TIME, "now()"),
    Column("context", JSONB), Column("retracted_at", TIME),
    Index("events_event_id", "event_id", unique=True),
    Index("events_by_user", "user_id", "occurred_at", "seq", postgresql_where=text("user_id IS NOT NULL")),
    Index("events_by_session", "session_id", "occurred_at", "seq", postgresql_where=text("session_id IS NOT NULL")),
    Index("events_by_time", "occurred_at", "seq"),
)  # fmt: skip

# What Postgres has and the live state may not have: written with the events, removed once the live state has them.
unapplied_groups = Table(
    "unapplied_groups", metadata,
    Column("group_id", Text, primary_key=True),
    Column("first_seq", BigInteger), Column("last_seq", BigInteger),
    required("users", ARRAY(Text), "'{}'"), required("sessions", ARRAY(Text), "'{}'"),
    required("sole_sessions", ARRAY(Text), "'{}'"), required("lists", ARRAY(Text), "'{}'"),
    required("written_at", TIME, "now()"),
)  # fmt: skip

impressions = Table(
    "impressions", metadata,
    Column("recommendation_id", ID, primary_key=True),
    required("scenario", Text), required("model_version", Text), Column("variant", Text),
    Column("user_id", ID), Column("session_id", ID),
    required("shown_at", TIME),
    required("item_ids", ARRAY(Text)), required("scores", ARRAY(REAL)), required("propensities", ARRAY(REAL)),
    Column("context", JSONB),
    Index("impressions_by_time", "shown_at"),
    Index("impressions_by_user", "user_id", "shown_at", postgresql_where=text("user_id IS NOT NULL")),
    Index("impressions_by_session", "session_id", "shown_at", postgresql_where=text("session_id IS NOT NULL")),
)  # fmt: skip

scenarios = Table(
    "scenarios", metadata,
    Column("name", ID, primary_key=True), required("body", JSONB), required("updated_at", TIME, "now()"),
)  # fmt: skip

experiments = Table(
    "experiments", metadata,
    Column("name", ID, primary_key=True), required("scenario", ID), required("variants", JSONB), required("updated_at", TIME, "now()"),
    Index("experiments_scenario", "scenario", unique=True),
)  # fmt: skip

model_versions = Table(
    "model_versions", metadata,
    Column("version", ID, primary_key=True),
    required("created_at", TIME), required("mode", Text), required("data", JSONB), required("metrics", JSONB),
    required("verdict", Text), required("gate_reason", Text, "''"), Column("job_id", ID),
)  # fmt: skip

activations = Table(
    "activations", metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("version", ID, ForeignKey("model_versions.version"), nullable=False),
    required("activated_at", TIME, "now()"),
    Column("rolled_back_at", TIME),  # the live version is that of the last row without it
)  # fmt: skip

jobs = Table(
    "jobs", metadata,
    Column("job_id", ID, primary_key=True),
    required("mode", Text), required("state", Text), required("activation", Text), Column("reason", Text),
    required("created_at", TIME, "now()"), Column("started_at", TIME), Column("finished_at", TIME),
    required("stage", Text, "''"), required("progress", Double, "0"), Column("eta_seconds", Double),
    Column("model_version", Text), required("metrics", JSONB, "'{}'"), Column("error", Text),
    required("log_tail", ARRAY(Text), "'{}'"),
    Column("worker_id", Text), Column("lease_until", TIME), required("cancel_requested", Boolean, "false"),
    Index("jobs_one_open", text("(true)"), unique=True, postgresql_where=text("state IN ('queued', 'running')")),
)  # fmt: skip

api_keys = Table(
    "api_keys", metadata,
    Column("key_id", ID, primary_key=True),
    required("name", Text), required("scopes", ARRAY(Text)), required("sha256", Text),
    required("created_at", TIME), Column("revoked_at", TIME),
    Column("last_used_at", TIME), Column("rate_limit_per_minute", Integer),
    Index("api_keys_sha256", "sha256", unique=True),
)  # fmt: skip

text_vectors = Table(
    "text_vectors", metadata,
    Column("encoder", Text, primary_key=True), Column("hash", LargeBinary, primary_key=True),
    required("vector", LargeBinary),  # float16, little-endian
    required("used_on", Date, "CURRENT_DATE"),  # UTC; vectors nobody reads any more are dropped
)  # fmt: skip

# Who was erased, as a digest of the id, for as long as something of them may still be on its way; processes follow the newest seq.
erasures = Table(
    "erasures", metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    required("subject", LargeBinary), required("erased_at", TIME, "now()"),
    Index("erasures_by_subject", "subject"),
)  # fmt: skip

shared_secrets = Table(
    "shared_secrets", metadata, Column("name", Text, primary_key=True), required("value", LargeBinary)
)

revisions = Table("revisions", metadata, Column("name", Text, primary_key=True), required("value", BigInteger, "0"))
