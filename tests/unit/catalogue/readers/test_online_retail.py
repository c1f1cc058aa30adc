from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from app.catalogue.loading import detect_format, read_raw, read_shop_data
from app.errors import BadData

ONLINE_RETAIL = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "online-retail"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
LINES = """\
536365,85123a,WHITE HEART,6,12/1/2010 8:26,2.55,17850.0,United Kingdom
536366,85123A,WHITE HEART,1,12/1/2010 8:28,2.95,,United Kingdom
C536379,85123A,WHITE HEART,-1,12/1/2010 9:41,2.55,17850.0,United Kingdom
536370,POST,POSTAGE,3,12/1/2010 8:45,18.00,12583.0,France
536371,22086,,80,12/1/2010 9:00,0.00,13748.0,United Kingdom
536372,22086,damaged,-5,12/1/2010 9:01,2.10,13748.0,United Kingdom
536373,22632,"HAND, WARMER",many,12/1/2010 9:02,1.85,17850.0,United Kingdom
"""


def test_conversion_rules(tmp_path: Path) -> None:
    path = tmp_path / "retail.csv"
    path.write_text(HEADER + LINES)
    assert detect_format(path) == "online-retail"
    raw = read_raw(path)
    columns = ["user_id", "item_id", "type", "value", "quantity", "order_id", "currency", "context"]
    assert raw.data.events.select(columns).rows() == [
        ("17850", "85123A", "purchase", 15.3, 6.0, "536365", "GBP", '{"unit_price":2.55}'),
        ("17850", "85123A", "return", -2.55, -1.0, "C536379", "GBP", '{"unit_price":2.55}'),
    ]
    assert raw.data.items.select("item_id", "title", "price").rows() == [("85123A", "WHITE HEART", 2.55)]
    assert raw.data.users.select("user_id", "country").rows() == [("17850", "United Kingdom")]
    assert {rows.rule: rows.count for rows in raw.skipped} == {
        "code is no article": 1, "price 0 or below": 1, "negative, but no cancellation": 2, "no customer": 1,
    }  # fmt: skip
    assert [(cells.column, cells.count, cells.example) for cells in raw.unreadable] == [("Quantity", 1, "many")]


def test_heading_of_the_second_edition(tmp_path: Path) -> None:
    path = tmp_path / "retail2.csv"
    path.write_text(
        "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
        "489434,85048,GLASS BALL,12,2009-12-01 07:45:00,6.95,13085,United Kingdom\n"
    )
    assert read_shop_data(path).events.select("user_id", "item_id", "value").rows() == [("13085", "85048", 83.4)]


def test_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "retail.csv"
    path.write_text("InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID\n1,2,3,4,5,6\n")
    with pytest.raises(BadData, match=r"retail\.csv: missing column Description, Country"):
        read_shop_data(path, "online-retail")


@pytest.mark.skipif(
    not (ONLINE_RETAIL / "raw").is_dir(), reason=f"public data set online-retail not found at {ONLINE_RETAIL}"
)
def test_owners_form_equals_the_converted_set() -> None:
    """But for returns of articles that are never sold: the converted set leaves them out."""
    converted, raw = (read_shop_data(folder).events for folder in (ONLINE_RETAIL, ONLINE_RETAIL / "raw"))
    columns = ["user_id", "item_id", "type", "value", "quantity", "order_id", "scenario", "occurred_at", "context"]
    until = raw["occurred_at"].max()
    sold = raw.filter(pl.col("item_id").is_in(converted["item_id"].implode())).select(columns)
    assert len(sold) == 13_285
    assert sold.sort(columns).equals(converted.filter(pl.col("occurred_at") <= until).select(columns).sort(columns))
