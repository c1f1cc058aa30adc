"""The rules, table by table. Vectorised; about a second for a million events.

Items and users: the last row of a repeated id wins. Events: the first row of a repeated id wins, as over HTTP; without ids,
a row that equals an earlier one in every column, time included, is a duplicate. Rows without a time are never duplicates:
two equal ones can be two true events. Made-up event ids depend on the content alone, so a repeated import adds nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from app.catalogue.cleaning.cells import bad_id, drop_bad_ids, impossible_number, mend_json, mend_lists, mend_texts
from app.catalogue.cleaning.ledger import Ledger
from app.catalogue.cleaning.notes import write_notes
from app.catalogue.cleaning.report import CleaningReport, Finding
from app.catalogue.item import MAX_AGE
from app.catalogue.shop_data import EVENT_SCHEMA, TIME, ShopData

FUTURE_TOLERANCE = timedelta(minutes=5)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
MAX_PRICE = 1e9
MAX_TYPE_LENGTH = 64
_EVENT_CONTENT = [name for name in EVENT_SCHEMA if name != "event_id"]


@dataclass(frozen=True)
class Cleaned:
    """rejects: rows that were left out, columns table, rule, detail, row; at most 10,000 for each rule."""

    data: ShopData
    report: CleaningReport
    rejects: pl.DataFrame


def clean(data: ShopData, now: datetime, found_before: Sequence[Finding] = ()) -> Cleaned:
    """now: times later than five minutes after it are refused. found_before: what the reader found, for the report."""
    ledger = Ledger(tuple(found_before))
    items = _clean_items(ledger, data.items, now)
    users = _clean_users(ledger, data.users, now)
    events = _clean_events(ledger, data.events, now)
    _count_unknown(ledger, events, items, users)
    cleaned = ShopData(items, users, events)
    report = CleaningReport(_rows(data), _rows(cleaned), tuple(ledger.findings), tuple(write_notes(cleaned)))
    return Cleaned(cleaned, report, ledger.rejects())


def _rows(data: ShopData) -> dict[str, int]:
    return {"items": len(data.items), "users": len(data.users), "events": len(data.events)}


def _clean_items(ledger: Ledger, items: pl.DataFrame, now: datetime) -> pl.DataFrame:
    items = drop_bad_ids(ledger, "items", items, "item_id")
    repeated = ~pl.col("item_id").is_last_distinct()
    items = ledger.drop("items", items, repeated, "item_id repeated", "rejected, the last row is kept")
    impossible = impossible_number("price", least=0, most=MAX_PRICE)
    items = ledger.mend("items", items, "price", impossible, "price impossible (below 0, infinite, over 1e9)")
    items = mend_texts(ledger, "items", items, ["title", "description", "brand", "currency", "image_url", "locale"])
    items = _mend_created_at(ledger, "items", items, now)
    items = mend_json(ledger, "items", items, "attributes")
    return mend_lists(items, ["category", "tags"]).with_columns(pl.col("available").fill_null(True))


def _clean_users(ledger: Ledger, users: pl.DataFrame, now: datetime) -> pl.DataFrame:
    users = drop_bad_ids(ledger, "users", users, "user_id")
    repeated = ~pl.col("user_id").is_last_distinct()
    users = ledger.drop("users", users, repeated, "user_id repeated", "rejected, the last row is kept")
    users = ledger.mend("users", users, "age", impossible_number("age", least=0, most=MAX_AGE), "age impossible")
    users = mend_texts(ledger, "users", users, ["text", "gender", "occupation", "country", "locale"])
    users = _mend_created_at(ledger, "users", users, now)
    users = mend_json(ledger, "users", users, "attributes")
    return mend_lists(users, ["tags"])


def _mend_created_at(ledger: Ledger, table: str, frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return ledger.mend(
        table, frame, "created_at", pl.col("created_at") > now + FUTURE_TOLERANCE, "created_at in the future"
    )


def _clean_events(ledger: Ledger, events: pl.DataFrame, now: datetime) -> pl.DataFrame:
    events = drop_bad_ids(ledger, "events", events, "item_id")
    nobody = pl.col("user_id").replace("", None).is_null() & pl.col("session_id").replace("", None).is_null()
    events = ledger.drop("events", events, nobody, "neither user_id nor session_id")
    events = ledger.drop("events", events, bad_id("user_id"), "user_id too long or with control characters")
    bad_type = pl.col("type").is_null() | (pl.col("type") == "") | (pl.col("type").str.len_chars() > MAX_TYPE_LENGTH)
    events = ledger.drop(
        "events", events, bad_type | pl.col("type").str.contains(r"\p{Cc}"), "type missing or unusable"
    )
    late = pl.col("occurred_at") > now + FUTURE_TOLERANCE
    events = ledger.drop("events", events, late, "time more than 5 minutes in the future")
    events = ledger.drop("events", events, pl.col("occurred_at") < EARLIEST, "time before 1970")
    events = _mend_event_cells(ledger, events)
    events = _drop_repeated_events(ledger, events)
    events = _fill_event_ids(events)
    return _fill_times(ledger, events, now).sort("occurred_at", maintain_order=True)


def _mend_event_cells(ledger: Ledger, events: pl.DataFrame) -> pl.DataFrame:
    events = ledger.mend("events", events, "event_id", bad_id("event_id"), "event_id unusable", "a new one is made")
    for column in ("session_id", "scenario", "recommendation_id", "order_id"):
        events = ledger.mend("events", events, column, bad_id(column), f"{column} too long or with control characters")
    blank = ["event_id", "user_id", "session_id", "scenario", "recommendation_id", "order_id"]
    events = events.with_columns(pl.col(blank).replace("", None))
    events = mend_texts(ledger, "events", events, ["currency"])
    events = ledger.mend("events", events, "value", impossible_number("value"), "value infinite or not a number")
    goes_back = pl.col("type") == "return"
    impossible = impossible_number("quantity") | ((pl.col("quantity") <= 0) & ~goes_back)
    events = ledger.mend("events", events, "quantity", impossible, "quantity impossible (0 or below, infinite)")
    events = ledger.mend("events", events, "position", pl.col("position") < 1, "position below 1")
    return mend_json(ledger, "events", events, "context")


def _drop_repeated_events(ledger: Ledger, events: pl.DataFrame) -> pl.DataFrame:
    named = pl.col("event_id").is_not_null()
    repeated = named & ~pl.col("event_id").is_first_distinct()
    events = ledger.drop("events", events, repeated, "event_id repeated", "rejected, the first row is kept")
    timed = pl.col("occurred_at").is_not_null() & pl.col("event_id").is_null()
    copy = timed & ~pl.struct(pl.col(_EVENT_CONTENT)).is_first_distinct()
    return ledger.drop("events", events, copy, "duplicate: equal in every column", "rejected, the first row is kept")


def _fill_event_ids(events: pl.DataFrame) -> pl.DataFrame:
    """`imp-` and a hash of what the event says and of how often it was said before in this file."""
    nameless = events["event_id"].is_null()
    if not nameless.any():
        return events
    content = events.filter(nameless).select(
        pl.concat_str(
            [pl.col(name).cast(pl.String).fill_null("\x00") for name in _EVENT_CONTENT], separator="\x1f"
        ).alias("content")
    )
    times_before = pl.int_range(pl.len()).over("content").cast(pl.String)
    texts = content.select(pl.concat_str("content", times_before, separator="\x1f")).to_series()
    ids = [f"imp-{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}" for text in texts]
    event_id = events["event_id"].scatter(nameless.arg_true(), ids)
    return events.with_columns(event_id)


def _fill_times(ledger: Ledger, events: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Events without a time get the time of the import, a microsecond apart, in file order."""
    count = events["occurred_at"].null_count()
    ledger.count("events", "time missing", count, "given the time of the import, in file order")
    if not count:
        return events
    at = pl.col("occurred_at")
    made_up = pl.lit(now).cast(TIME) + pl.duration(microseconds=at.is_null().cum_sum().cast(pl.Int64) - count)
    return events.with_columns(pl.when(at.is_null()).then(made_up).otherwise(at).alias("occurred_at"))


def _count_unknown(ledger: Ledger, events: pl.DataFrame, items: pl.DataFrame, users: pl.DataFrame) -> None:
    for column, known in (("item_id", items["item_id"]), ("user_id", users["user_id"])):
        unknown = events[column].drop_nulls().filter(~events[column].drop_nulls().is_in(known.implode()))
        ledger.count(
            "events",
            f"unknown reference: {unknown.n_unique():,} {column} without a row",
            len(unknown),
            "kept, as a stub that is not shown until it is described",
        )
