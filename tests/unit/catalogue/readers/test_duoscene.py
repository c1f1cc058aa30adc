from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl
import pytest

from app.catalogue.loading import read_shop_data
from app.catalogue.readers.duoscene import read_duoscene
from app.errors import BadData

DATA = Path(__file__).resolve().parents[4].parent / "shared" / "data"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def test_csv_twins_keep_leading_zeros_split_lists_and_bag_extra_columns(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        items_csv='item_id;title;category;tags;price;colour\n007;"Mug; big";Home > Kitchen;gift|blue;4.50;blue\n7;Cup;;;;\n',
        users_csv="user_id;age;likes\nu1;31;tea\n",
        events_csv="user_id;item_id;event;timestamp;device\nu1;007;cart;2026-01-02 03:04:05;phone\n",
    )
    data = read_shop_data(folder)
    mug, cup = data.items.to_dicts()
    assert (mug["item_id"], mug["title"], mug["price"], mug["available"]) == ("007", "Mug; big", 4.5, True)
    assert (mug["category"], mug["tags"]) == (["Home", "Kitchen"], ["gift", "blue"])
    assert orjson.loads(mug["attributes"]) == {"colour": "blue"}
    assert (cup["category"], cup["tags"], cup["attributes"]) == ([], [], None)
    user = data.users.row(0, named=True)
    assert (user["age"], orjson.loads(user["attributes"])) == (31, {"likes": "tea"})
    event = data.events.row(0, named=True)
    assert (event["type"], event["occurred_at"]) == ("cart_add", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert orjson.loads(event["context"]) == {"device": "phone"}


def test_json_lines_with_numbers_as_ids_and_nested_attributes(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        items_jsonl='{"item_id": 1, "attributes": {"size": "L", "care": {"wash": 30}}, "colour": "a\\"b"}\n{"item_id": 2}\n',
        events_jsonl='{"user_id": 5, "item_id": 1, "event": "view", "timestamp": 1767225600}\n',
    )
    data = read_shop_data(folder)
    assert data.items["item_id"].to_list() == ["1", "2"]
    assert orjson.loads(data.items["attributes"][0]) == {"size": "L", "care": {"wash": 30}, "colour": 'a"b'}
    assert data.items["attributes"][1] is None
    assert data.events["occurred_at"][0] == datetime(2026, 1, 1, tzinfo=UTC)
    assert data.users["user_id"].to_list() == ["5"]  # derived: there is no users file


def test_cells_that_cannot_be_read_become_null_and_are_reported(tmp_path: Path) -> None:
    raw = read_duoscene(write(tmp_path, items_csv="item_id,price\na,3\nb,cheap\n"))
    assert raw.data.items["price"].to_list() == [3.0, None]
    assert [(u.column, u.count, u.example) for u in raw.unreadable] == [("price", 1, "cheap")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("events_csv", "user,item_id,event\nu,i,view\n", "events.csv: missing column user_id"),
        ("events_csv", "user_id,item_id\nu,i\n", "events.csv: missing column event"),
        ("items_csv", "", "items.csv: the file is empty"),
        ("items_parquet", "not parquet", "items.parquet: cannot be read as parquet"),
        ("items_jsonl", '{"item_id": 1}\n{"item', "items.jsonl: cannot be read as jsonl"),
        (
            "events_csv",
            "user_id,item_id,event,timestamp\nu,i,view,soon\nu,j,view,later\n",
            "column timestamp: none of its 2 values is a time",
        ),
    ],
)
def test_an_unreadable_file_is_named_with_what_is_wrong(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(BadData, match=said):
        read_duoscene(write(tmp_path, **{name: text}))


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no items, users or events file"):
        read_duoscene(tmp_path)


@pytest.mark.skipif(not (DATA / "ml-1m").is_dir(), reason=f"public data set ml-1m not found at {DATA}")
def test_public_set_is_read_whole_in_file_order() -> None:
    data = read_shop_data(DATA / "ml-1m")
    assert (len(data.items), len(data.users), len(data.events)) == (3_883, 6_040, 663_062)
    source = pl.read_parquet(DATA / "ml-1m" / "events.parquet")
    assert data.events["item_id"].equals(source["item_id"], check_names=False)
    assert data.events["occurred_at"].equals(source["timestamp"], check_names=False)
    assert data.items["tags"][0].to_list() == ["Animation", "Children's", "Comedy"]
