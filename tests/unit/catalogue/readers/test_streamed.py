"""Events read piece by piece are the events read at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from app.catalogue.loading import open_shop, read_shop_data
from app.catalogue.shop_data import LOG_COLUMNS, EventfulShop, ShopData, StreamedShop
from app.errors import BadData
from app.learning.dataset import EventLog, Interactions, interactions

START = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = ("user_E", "item_E", "kind_E", "scenario_E", "at_E", "weight_E", "query_E")


def write(folder: Path, **changes: pl.Series) -> Path:
    """A folder with 60 events of 7 users (some guests), 5 items and 3 scenarios, some of it missing."""
    folder.mkdir(exist_ok=True)
    n = range(60)
    events = pl.DataFrame({
        "user_id": [f"u{k % 7}" if k % 4 else None for k in n], "session_id": [f"s{k % 3}" for k in n],
        "item_id": [k % 6 for k in n], "event": [("click", "impression", "cart")[k % 3] for k in n],
        "scenario": [(None, "search", "home", None, "home")[k % 5] for k in n],
        "timestamp": [START + timedelta(hours=(k * 7) % 50) if k != 9 else None for k in n],
        "value": [k / 2 for k in n], "extra": [{"a": k} for k in n],
        "query": [(None, " Red Mug", "red mug", "lamp")[k % 4] for k in n],
    }).with_columns(**changes)  # fmt: skip
    events.write_parquet(folder / "events.parquet")
    pl.DataFrame({"item_id": [str(k) for k in range(5)], "title": [f"thing {k}" for k in range(5)]}).write_csv(
        folder / "items.csv"
    )
    pl.DataFrame({"user_id": [f"u{k}" for k in range(7)]}).write_csv(folder / "users.csv")
    return folder


def assert_equal(one: Interactions, other: Interactions) -> None:
    for name in ("user_ids", "item_ids", "scenarios", "queries"):
        assert list(getattr(one, name)) == list(getattr(other, name))
    for name in COLUMNS:
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
        assert getattr(one, name).dtype == getattr(other, name).dtype


@pytest.mark.parametrize("rows", [7, 60])
def test_pieces_of_any_size_give_the_same_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    folder = write(tmp_path)
    whole = read_shop_data(folder)
    log = EventLog(whole.items["item_id"])
    log.add(whole.events)
    at_once = log.interactions()
    assert 0 < len(at_once) < 60
    assert set(at_once.queries) == {"", "red mug", "lamp"}
    assert set(at_once.query_E.tolist()) == {0, 1, 2}
    monkeypatch.setattr("app.catalogue.readers.duoscene.PIECE_ROWS", rows)
    monkeypatch.setattr("app.catalogue.shop_data.PIECE_ROWS", rows)
    streamed = open_shop(folder)
    assert isinstance(streamed, StreamedShop)
    assert [len(piece) for piece in streamed.pieces()][:-1] == [rows] * (-(-60 // rows) - 1)
    assert_equal(interactions(streamed), at_once)
    assert_equal(interactions(whole), at_once)


def test_users_and_times_are_in_order(tmp_path: Path) -> None:
    data = interactions(open_shop(write(tmp_path)))
    assert data.user_E.tolist() == sorted(data.user_E.tolist())
    for user in range(len(data.user_ids)):
        at = data.at_E[data.of(user)].tolist()
        assert at == sorted(at)
    assert data.scenarios == ["", "home", "search"]
    assert 0.0 in data.at_E  # the one without a time comes first


def test_what_is_kept_is_chosen_piece_by_piece(tmp_path: Path) -> None:
    data = interactions(open_shop(write(tmp_path)), keep=lambda piece: piece.filter(pl.col("type") == "cart_add"))
    assert set(data.kind_E.tolist()) == {3}


@pytest.mark.parametrize(
    "odd", [pl.Series("timestamp", ["2026-01-01T00:00:00Z"] * 60), pl.Series("user_id", [1.5] * 60), pl.Series("value", ["7"] * 60)]
)  # fmt: skip
def test_what_needs_a_look_at_the_whole_column_is_read_whole(tmp_path: Path, odd: pl.Series) -> None:
    shop: EventfulShop = open_shop(write(tmp_path, **{odd.name: odd}))
    assert isinstance(shop, ShopData)
    assert len(next(shop.pieces())) == 60


def test_the_columns_are_those_of_the_log(tmp_path: Path) -> None:
    assert next(open_shop(write(tmp_path)).pieces()).columns == [*LOG_COLUMNS, "context"]


def test_a_file_without_users_says_so(tmp_path: Path) -> None:
    folder = write(tmp_path)
    pl.DataFrame({"item_id": [1], "event": ["click"]}).write_parquet(folder / "events.parquet")
    with pytest.raises(BadData, match="missing column user_id"):
        interactions(open_shop(folder))
