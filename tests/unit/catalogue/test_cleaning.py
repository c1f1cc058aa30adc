from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from app.catalogue.cleaning import Cleaned, clean, write_rejects
from app.catalogue.cleaning.ledger import MAX_REJECTS_PER_RULE
from tests.unit.catalogue.frames import shop

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=1)


def findings(cleaned: Cleaned) -> dict[str, int]:
    return {finding.rule: finding.count for finding in cleaned.report.findings}


def clean_items(*items: dict[str, Any]) -> Cleaned:
    return clean(shop(items=list(items)), NOW)


def clean_events(*events: dict[str, Any]) -> Cleaned:
    return clean(
        shop([{"item_id": "i1"}], [{"user_id": "u1"}], [{"occurred_at": EARLIER} | row for row in events]), NOW
    )


def test_clean_data_passes_untouched() -> None:
    data = shop(
        [{"item_id": "a/b %", "title": "x", "price": 0.0, "attributes": '{"k":[1]}', "category": ["A", "B"]}],
        [{"user_id": "用户", "age": 30, "text": "hello"}],
        [{"item_id": "a/b %", "user_id": "用户", "event_id": "e", "occurred_at": NOW + timedelta(minutes=4)}],
    )
    cleaned = clean(data, NOW)
    assert cleaned.report.findings == ()
    assert len(cleaned.rejects) == 0
    assert cleaned.data.items.equals(data.items)
    assert cleaned.data.users.equals(data.users)
    assert cleaned.data.events.equals(data.events)


@pytest.mark.parametrize("item_id", [None, "", "x" * 257, "a\x00b", "tab\there", ".", ".."])
def test_unusable_ids_are_rejected(item_id: str | None) -> None:
    cleaned = clean_items({"item_id": item_id, "title": "t"}, {"item_id": "x" * 256})
    assert cleaned.data.items["item_id"].to_list() == ["x" * 256]
    reject = cleaned.rejects.row(0, named=True)
    assert reject["table"] == "items"
    assert json.loads(reject["row"])["title"] == "t"


def test_last_row_of_a_repeated_item_wins() -> None:
    cleaned = clean_items({"item_id": "a", "title": "old"}, {"item_id": "b"}, {"item_id": "a", "title": "new"})
    assert cleaned.data.items.select("item_id", "title").rows() == [("b", None), ("a", "new")]
    assert findings(cleaned) == {"item_id repeated": 1}


@pytest.mark.parametrize("price", [-0.01, float("nan"), float("inf"), 2e9])
def test_impossible_prices_become_unknown(price: float) -> None:
    cleaned = clean_items({"item_id": "a", "price": price}, {"item_id": "b", "price": 3.0})
    assert cleaned.data.items["price"].to_list() == [None, 3.0]
    assert findings(cleaned) == {"price impossible (below 0, infinite, over 1e9)": 1}


def test_what_the_database_cannot_hold_is_taken_out() -> None:
    cleaned = clean_items(
        {"item_id": "a", "title": "n\x00ul", "brand": "  ", "attributes": '["no object"]', "tags": [None, " x ", ""]},
        {"item_id": "b", "attributes": '{"k": "\\u0000"}', "created_at": NOW + timedelta(hours=1)},
    )
    first, second = cleaned.data.items.to_dicts()
    assert (first["title"], first["brand"], first["attributes"], first["tags"]) == ("nul", None, None, ["x"])
    assert (second["attributes"], second["created_at"]) == (None, None)
    assert findings(cleaned)["attributes is no JSON object"] == 2
    (event,) = clean_events({"currency": "E\x00UR"}).data.events.to_dicts()
    assert event["currency"] == "EUR"


@pytest.mark.parametrize(
    "nul", [r'{"k": "\u0000"}', r'{"a\u0000": 1}', r'{"k": [{"l": "\\\u0000"}]}', r'{"k": "\u0000", "k": 1}']
)
def test_an_escaped_backslash_before_u0000_is_no_nul(nul: str) -> None:
    literal = json.dumps({"k": r"\u0000", r"\u0000": [r"\\u0000"]})
    cleaned = clean_items({"item_id": "a", "attributes": literal}, {"item_id": "b", "attributes": nul})
    assert cleaned.data.items["attributes"].to_list() == [literal, None]


def test_ages_beyond_life_become_unknown() -> None:
    ages = [{"user_id": str(age), "age": age} for age in (-1, 0, 150, 151)]
    assert clean(shop(users=ages), NOW).data.users["age"].to_list() == [None, 0, 150, None]


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        ({"item_id": None}, "item_id missing"),
        ({"user_id": None}, "neither user_id nor session_id"),
        ({"user_id": "x" * 300}, "user_id too long or with control characters"),
        ({"type": None}, "type missing or unusable"),
        ({"occurred_at": NOW + timedelta(minutes=6)}, "time more than 5 minutes in the future"),
        ({"occurred_at": datetime(1969, 1, 1, tzinfo=UTC)}, "time before 1970"),
    ],
)
def test_events_that_cannot_be_kept_are_rejected(event: dict[str, Any], rule: str) -> None:
    cleaned = clean_events(event, {"session_id": "s", "user_id": None})
    assert len(cleaned.data.events) == 1
    assert cleaned.rejects["rule"].to_list() == [rule]


def test_impossible_cells_of_events_become_unknown() -> None:
    cleaned = clean_events(
        {"value": float("nan"), "quantity": 0.0, "position": 0, "context": "{broken", "scenario": "a\nb"},
        {"type": "return", "quantity": -2.0, "value": -5.0},
    )
    bad, good = cleaned.data.events.to_dicts()
    assert [bad[name] for name in ("value", "quantity", "position", "context", "scenario")] == [None] * 5
    assert (good["quantity"], good["value"]) == (-2.0, -5.0)


def test_full_repeats_are_duplicates_but_only_with_a_time() -> None:
    cleaned = clean_events(
        {"order_id": "1"}, {"order_id": "1"}, {"order_id": "2"}, {"occurred_at": None}, {"occurred_at": None}
    )
    assert len(cleaned.data.events) == 4
    assert findings(cleaned)["duplicate: equal in every column"] == 1
    named = clean_events({"event_id": "e", "value": 1.0}, {"event_id": "e", "value": 2.0})
    assert named.data.events["value"].to_list() == [1.0]


def test_made_up_event_ids_are_the_same_in_every_import() -> None:
    events = [{"occurred_at": None}, {"occurred_at": None}, {"value": 3.0}, {"event_id": "given"}]
    first, again = clean_events(*events), clean_events(*reversed(events))
    ids = first.data.events["event_id"]
    assert ids.n_unique() == 4
    assert set(ids) == set(again.data.events["event_id"])
    assert ids.sort()[1] == "imp-29632e85a49f162e801b7fde9c475a19"  # kept over versions: a repeated import adds nothing


def test_events_without_time_stand_at_the_import_in_file_order() -> None:
    cleaned = clean_events(*({"item_id": name, "occurred_at": None} for name in "cab"), {"item_id": "z"})
    assert cleaned.data.events["item_id"].to_list() == ["z", "c", "a", "b"]
    assert cleaned.data.events["occurred_at"][-1] == NOW
    assert findings(cleaned)["time missing"] == 3


def test_unknown_references_are_kept_and_counted() -> None:
    cleaned = clean_events({"item_id": "nowhere"}, {"item_id": "nowhere", "value": 1.0}, {"user_id": "nobody"})
    assert len(cleaned.data.events) == 3
    assert cleaned.data.items["item_id"].to_list() == ["i1"]
    assert findings(cleaned) == {
        "unknown reference: 1 item_id without a row": 2,
        "unknown reference: 1 user_id without a row": 1,
    }


def test_events_are_sorted_by_time_and_keep_file_order_inside_it() -> None:
    cleaned = clean_events({"item_id": "b"}, {"item_id": "a"}, {"item_id": "c", "occurred_at": EARLIER - timedelta(1)})
    assert cleaned.data.events["item_id"].to_list() == ["c", "b", "a"]


def test_notes_say_what_skews_a_model() -> None:
    many = [{"user_id": "heavy" if n < 30 else f"u{n}", "item_id": f"i{n}", "value": float(n)} for n in range(500)]
    notes = " ".join(clean_events(*many).report.notes)
    assert "1 (100.0%) of the items have no title" in notes
    assert "'heavy' has 30 (6.0%)" in notes
    assert "470 (99.8%) of the shoppers have a single event" in notes


def test_report_prints_and_rejects_are_bounded_and_written(tmp_path: Path) -> None:
    count = MAX_REJECTS_PER_RULE + 5
    cleaned = clean_items(
        *({"item_id": "", "price": float("nan")} for _ in range(count)), {"item_id": "[b]", "price": -1.0}
    )
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    console.print(cleaned.report)
    printed = console.export_text()
    assert "item_id missing" in printed
    assert f"{count:,}" in printed
    assert json.loads(json.dumps(cleaned.report.to_json()))["rows_kept"] == {"items": 1, "users": 0, "events": 0}
    write_rejects(cleaned.rejects, tmp_path / "new" / "rejects.jsonl")
    lines = pl.read_ndjson(tmp_path / "new" / "rejects.jsonl")
    assert len(lines) == MAX_REJECTS_PER_RULE
    assert json.loads(lines["row"][0])["price"] == "NaN"
