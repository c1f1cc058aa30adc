"""Strict JSON: everything that is not exactly JSON in UTF-8 becomes a MalformedJson, never another exception."""

import pytest

from app.api.json_body import MalformedJson, parse_json


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b"{'a': 1}", "malformed_json"),
        (b'{"a": 1} x', "malformed_json"),
        (b'{"a": NaN}', "malformed_json"),
        (b'{"a": -Infinity}', "malformed_json"),
        (b'{"a": 01}', "malformed_json"),
        (b'"\n"', "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b'{"a":' * 100_000, "malformed_json"),
        (b"9" * 5_000, "malformed_json"),
        (b'"\xff"', "invalid_utf8"),
        (b'"\xed\xa0\x80"', "invalid_utf8"),
        ('"é"'.encode("utf-16"), "invalid_utf8"),
        (b'{"a": 1, "b": 2, "a": 1}', "duplicate_key"),
        (b'[{"deep": {"a": 1, "a": 2}}]', "duplicate_key"),
    ],
)
def test_what_is_not_json_is_refused_with_its_code(raw: bytes, code: str) -> None:
    with pytest.raises(MalformedJson) as caught:
        parse_json(raw)
    assert caught.value.code == code


def test_a_duplicate_key_is_named() -> None:
    with pytest.raises(MalformedJson, match="'b'"):
        parse_json(b'{"a": 1, "b": 2, "b": 3}')


def test_json_is_read_as_it_stands() -> None:
    assert parse_json('{"a": [1, 2.5, "é", null, true], "b": {}}'.encode()) == {
        "a": [1, 2.5, "é", None, True],
        "b": {},
    }
