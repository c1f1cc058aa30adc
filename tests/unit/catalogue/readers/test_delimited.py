from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from app.catalogue.loading import import_path, read_raw, read_shop_data
from app.errors import BadData

REES46 = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "rees46-sample"


def test_mapping_names_the_columns_and_constants(tmp_path: Path) -> None:
    path = tmp_path / "orders.tsv"
    path.write_text("product\tcustomer\twhen\titem_id\n007\tc1\t2026-01-02\tline 1\n")
    mapping = {"item_id": "product", "user_id": "customer", "timestamp": "when", "event": "=purchase"}
    data = read_shop_data(path, mapping=mapping)
    event = data.events.row(0, named=True)
    assert (event["item_id"], event["user_id"], event["type"]) == ("007", "c1", "purchase")
    assert orjson.loads(event["context"]) == {"item_id_": "line 1"}  # the column whose name was taken over is kept
    assert (data.items["item_id"].to_list(), data.users["user_id"].to_list()) == (["007"], ["c1"])


def test_fields_decide_whether_items_or_users(tmp_path: Path) -> None:
    (tmp_path / "products.jsonl").write_text('{"sku": "a", "name": "Mug", "price": "4.5"}\n')
    items = read_raw(tmp_path / "products.jsonl", mapping={"item_id": "sku", "title": "name"})
    assert items.data.items.select("item_id", "title", "price").rows() == [("a", "Mug", 4.5)]
    (tmp_path / "people.csv").write_text("user_id,age\nu,33\n")
    assert read_shop_data(tmp_path / "people.csv").users.select("user_id", "age").rows() == [("u", 33)]


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({}, "no column item_id or user_id; it has sku, who"),
        ({"item_id": "skuu"}, "table.csv has no column skuu; it has sku, who"),
        ({"itemid": "sku"}, "there is no field itemid"),
        ({"item_id": "sku", "user_id": "who"}, "missing column event"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, mapping: dict[str, str], said: str) -> None:
    (tmp_path / "table.csv").write_text("sku,who\na,u\n")
    with pytest.raises(BadData, match=said):
        read_shop_data(tmp_path / "table.csv", mapping=mapping)


@pytest.mark.skipif(not (REES46 / "raw").is_dir(), reason=f"public data set rees46-sample not found at {REES46}")
def test_a_real_foreign_csv() -> None:
    mapping = {"item_id": "product_id", "event": "event_type", "timestamp": "event_time", "session_id": "user_session"}
    cleaned = import_path(REES46 / "raw", "csv", mapping)
    assert len(cleaned.data.events) == 17_434 - 5  # five lines are there twice
    assert cleaned.data.events["type"].value_counts(sort=True).rows() == [
        ("view", 17_051),
        ("purchase", 214),
        ("cart_add", 164),
    ]
