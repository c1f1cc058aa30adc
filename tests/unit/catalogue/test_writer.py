from __future__ import annotations

import tempfile
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalogue.loading import read_shop_data
from app.catalogue.sample_shop import generate_sample_shop
from app.catalogue.shop_data import EVENT_SCHEMA, ITEM_SCHEMA, TIME, USER_SCHEMA, ShopData
from app.catalogue.writer import write_shop_data
from app.errors import Conflict, Unwritable
from tests.unit.catalogue.frames import shop

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.dictionaries(
    TEXT, st.none() | st.booleans() | st.integers(-9, 9) | TEXT | st.lists(TEXT, max_size=2), max_size=3
)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    pl.String(): st.none() | TEXT,
    pl.Float64(): st.none() | st.floats(),
    pl.Int32(): st.none() | st.integers(-(2**31), 2**31 - 1),
    pl.Boolean(): st.none() | st.booleans(),
    pl.List(pl.String): st.lists(st.none() | TEXT | st.just("A > B"), max_size=3),
    TIME: st.none() | st.datetimes(timezones=st.just(UTC)),
}


def frames(schema: pl.Schema) -> st.SearchStrategy[pl.DataFrame]:
    cells = {name: VALUES[dtype] for name, dtype in schema.items()}
    for name in {"attributes", "context"} & set(schema):
        cells[name] = st.none() | JSON.map(lambda value: orjson.dumps(value).decode())
    rows = st.lists(st.fixed_dictionaries(cells), max_size=4)
    return rows.map(lambda given_rows: pl.DataFrame(given_rows, schema=schema, orient="row"))


@settings(max_examples=60, deadline=None)
@given(frames(ITEM_SCHEMA), frames(USER_SCHEMA), frames(EVENT_SCHEMA))
def test_what_is_written_is_read_again(items: pl.DataFrame, users: pl.DataFrame, events: pl.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "export"
        write_shop_data(ShopData(items, users, events), target)
        again = read_shop_data(target)
    assert again.items.equals(items)
    assert again.users.equals(users)
    assert again.events.equals(events)


def test_layout_has_the_names_people_know(tmp_path: Path) -> None:
    data = generate_sample_shop(3, num_items=100, num_users=20).data
    (tmp_path / "empty").mkdir()
    write_shop_data(data, tmp_path / "empty")
    items, events = (pl.read_parquet(tmp_path / "empty" / f"{name}.parquet") for name in ("items", "events"))
    assert items["category"][0] == "Kitchen > Cookware > Pans"
    assert {"event", "timestamp"} < set(events.columns)
    assert read_shop_data(tmp_path / "empty").events.equals(data.events)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("mine")
    with pytest.raises(Conflict, match="is not an empty folder"):
        write_shop_data(shop(), tmp_path)
    assert (tmp_path / "items.csv").read_text() == "mine"


def test_the_folder_one_stands_in_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_shop_data(shop(), Path())
    assert {path.name for path in Path().iterdir()} == {"items.parquet", "users.parquet", "events.parquet"}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Unwritable, match="file/export cannot be written: Not a directory; check rights"):
        write_shop_data(shop(), tmp_path / "file" / "export")


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    def stop(stage: str, done: float, note: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shop_data(shop(), tmp_path / "export", stop)
    assert list(tmp_path.iterdir()) == []
