"""Ids, times, numbers and free objects: what fits, and what is refused with which code."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.api.schemas.fields import Context, Id, JsonObject, PathId, Time
from app.api.schemas.items import ItemPut
from app.api.schemas.recommendations import RecommendBody
from app.api.validation import field_errors


def codes(model: type[Any], value: Any) -> dict[tuple[str | int, ...], str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return {error.loc: error.code for error in field_errors(caught.value.errors(include_url=False))}


@pytest.mark.parametrize("good", ["1", "a/b", "100%", "红茶", "a b", "...", "é" * 256, "💡"])
def test_ids_are_opaque_text(good: str) -> None:
    assert TypeAdapter(Id).validate_python(good) == good


@pytest.mark.parametrize("bad", ["", "x" * 257, "a\x00b", "a\nb", "\x7f", "\x85", "\ud800", ".", "..", 7, None, True])
def test_what_is_no_id(bad: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Id).validate_python(bad, strict=True)


@pytest.mark.parametrize(
    ("segment", "item_id"), [("a%2Fsimilar", "a/similar"), ("100%25", "100%"), ("%E7%BA%A2", "红"), ("a+b", "a+b")]
)
def test_a_path_segment_is_decoded_once(segment: str, item_id: str) -> None:
    assert TypeAdapter(PathId).validate_python(segment) == item_id


@pytest.mark.parametrize("segment", ["%", "%2", "%zz", "%FF", "%C3", "%ED%A0%80", "%00", "%2e%2E", "é"])
def test_bad_path_segments_are_refused(segment: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PathId).validate_python(segment)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31t12:00:00z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31 12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T12:00:00.25-00:30", datetime(2026, 1, 31, 12, 30, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_times_become_utc(text: str, utc: datetime) -> None:
    assert TypeAdapter(Time).validate_python(text) == utc


@pytest.mark.parametrize(
    "bad",
    [
        "2026-01-31T12:00:00", "2026-01-31", "2026-02-30T12:00:00Z", "20260131T120000Z", "2026-W05-6T12:00:00Z",
        "0001-01-01T00:00:00+14:00", "2026-01-31T12:00:00Z\n", "٢٠٢٦-01-31T12:00:00Z", 1769860800, True,
    ],
)  # fmt: skip
def test_what_is_no_time(bad: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Time).validate_python(bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"a": float("inf")},
        {"a": [1e999]},
        {"a": 2**64},
        {"a": "\x00"},
        {"\x00": 1},
        {"a": {"b": ["\ud800"]}},
        {"\udc00": 1},
    ],
)
def test_free_objects_hold_only_what_every_store_can_hold(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(JsonObject).validate_python(bad)


def test_free_objects_are_at_most_16_deep() -> None:
    def nested(depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {"leaf": 1}
        for _ in range(depth - 1):
            value = {"a": value}
        return value

    assert TypeAdapter(JsonObject).validate_python(nested(15)) == nested(15)
    for depth in (17, 900):
        with pytest.raises(ValidationError, match="too deeply"):
            TypeAdapter(JsonObject).validate_python(nested(depth))


def test_a_context_is_at_most_4_kib() -> None:
    TypeAdapter(Context).validate_python({"a": "x" * 4_000})
    with pytest.raises(ValidationError, match="larger than 4096 bytes"):
        TypeAdapter(Context).validate_python({"a": "é" * 2_100})


def test_json_types_are_not_coerced() -> None:
    assert codes(RecommendBody, {"scenario": "home", "n": "5"}) == {("n",): "wrong_type"}
    assert codes(RecommendBody, {"scenario": "home", "n": True}) == {("n",): "wrong_type"}
    assert codes(RecommendBody, {"scenario": 5}) == {("scenario",): "wrong_type"}
    assert codes(RecommendBody, {"scenario": "home", "diagnostics": 1}) == {("diagnostics",): "wrong_type"}
    assert codes(ItemPut, {"price": "4.95"}) == {("price",): "wrong_type"}
    assert codes(ItemPut, {"price": True}) == {("price",): "wrong_type"}
    assert codes(ItemPut, {"tags": "lunch"}) == {("tags",): "wrong_type"}
    assert codes(ItemPut, {"available": "yes"}) == {("available",): "wrong_type"}


def test_numbers_are_finite_and_in_range() -> None:
    assert codes(ItemPut, {"price": float("nan")}) == {("price",): "not_finite"}
    assert codes(ItemPut, {"price": float("inf")}) == {("price",): "not_finite"}
    assert codes(ItemPut, {"price": -0.01}) == {("price",): "out_of_range"}
    assert codes(RecommendBody, {"scenario": "home", "n": 0}) == {("n",): "out_of_range"}
    assert codes(RecommendBody, {"scenario": "home", "n": 10**400}) == {("n",): "out_of_range"}


@pytest.mark.parametrize("name", ["boost", "reason", "senario"])
def test_fields_that_do_not_exist_are_refused(name: str) -> None:
    assert codes(RecommendBody, {"scenario": "home", name: None}) == {(name,): "unknown_field"}


def test_null_means_left_out_but_hides_no_typo() -> None:
    body = {"scenario": "home", "context_items": None, "n": None, "user": {"tags": None}, "context": None}
    assert RecommendBody.model_validate(body) == RecommendBody.model_validate({"scenario": "home", "user": {}})
    assert ItemPut.model_validate({"tags": None, "available": None, "attributes": None}) == ItemPut()
    assert codes(RecommendBody, {"scenario": None}) == {("scenario",): "missing_field"}
    assert codes(ItemPut, {"tag": None}) == {("tag",): "unknown_field"}
    assert codes(ItemPut, {"tags": [None]}) == {("tags", 0): "wrong_type"}


def test_every_wrong_field_is_named_with_its_place() -> None:
    body = {"user": {"age": -1, "agee": 3}, "context_items": ["ok", ""], "fields": ["title", 7]}
    assert codes(RecommendBody, body) == {
        ("scenario",): "missing_field",
        ("user", "age"): "out_of_range",
        ("user", "agee"): "unknown_field",
        ("context_items", 1): "too_short",
        ("fields", 1): "wrong_type",
    }
