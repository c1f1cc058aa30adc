from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.errors import BadSettings
from app.settings import PREFIX, Settings, load_settings

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_lists_every_setting_as_it_is() -> None:
    rows = re.findall(rf"^\| `({PREFIX}\w+)` \| (.*?) \| (.*) \|$", README.read_text(), re.MULTILINE)
    expected = [
        (
            PREFIX + name.upper(),
            "" if field.default is None or field.default_factory else str(field.default),
            field.description,
        )
        for name, field in Settings.model_fields.items()
    ]
    assert rows == expected


def test_a_misspelt_variable_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOSCENE_WORKRES", "2")
    with pytest.raises(BadSettings, match="unknown setting DUOSCENE_WORKRES; did you mean DUOSCENE_WORKERS"):
        load_settings()


def test_a_bad_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOSCENE_PORT", "eighty")
    monkeypatch.setenv("DUOSCENE_WORKERS", "0")
    with pytest.raises(BadSettings, match=r"DUOSCENE_PORT .* 'eighty'; DUOSCENE_WORKERS .* '0'"):
        load_settings()


def test_a_bad_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOSCENE_ADMIN_KEY", "too-short")
    with pytest.raises(BadSettings) as caught:
        load_settings()
    assert "DUOSCENE_ADMIN_KEY" in caught.value.detail
    assert "too-short" not in caught.value.detail


def test_an_option_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOSCENE_PORT", "9000")
    assert load_settings().port == 9000
    assert load_settings(port=9001).port == 9001


def test_no_limit_of_waiting_events_is_smaller_than_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOSCENE_MAX_PENDING_EVENTS", "999")
    with pytest.raises(BadSettings, match="DUOSCENE_MAX_PENDING_EVENTS"):
        load_settings()


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose sets `${NAME:-}` to nothing."""
    unset = load_settings()
    for name in Settings.model_fields:
        monkeypatch.setenv(PREFIX + name.upper(), "")
    assert load_settings() == unset
    assert load_settings(port=9001).port == 9001


@pytest.mark.parametrize("weight", ["NaN", "Infinity"])
def test_a_weight_of_an_event_type_is_finite(monkeypatch: pytest.MonkeyPatch, weight: str) -> None:
    monkeypatch.setenv("DUOSCENE_EVENT_TYPES", f'{{"bookmark": {weight}}}')
    with pytest.raises(BadSettings, match="DUOSCENE_EVENT_TYPES does not fit"):
        load_settings()
