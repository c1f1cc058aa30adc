"""UCI Online Retail: one CSV of invoice lines. Both headings (I and II) and both ways to write dates are read.

Left out, as every published use of the set does: lines without a customer, codes that are no article (postage, fees,
vouchers: not starting with five digits), prices of 0 or below, negative lines that are no cancellation (stock corrections).
Titles, prices and first-sale dates do use the lines without a customer.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from app.catalogue.readers.conform import conform
from app.catalogue.readers.raw_shop import RawShop, SkippedRows, Unreadable
from app.catalogue.readers.table import read_delimited
from app.catalogue.shop_data import ShopData
from app.errors import BadData
from app.types import Progress, no_progress

_NAMES = {
    "invoice": "InvoiceNo", "stock_code": "StockCode", "title": "Description", "quantity": "Quantity",
    "timestamp": "InvoiceDate", "unit_price": "UnitPrice", "user_id": "CustomerID", "country": "Country",
}  # fmt: skip
_OTHER_NAMES = {"invoice": "Invoice", "unit_price": "Price", "user_id": "Customer ID"}  # Online Retail II
_CURRENCY = "GBP"


def is_online_retail(header: list[str]) -> bool:
    return {"StockCode", "InvoiceDate", "Quantity"} <= set(header)


def read_online_retail(path: Path, progress: Progress = no_progress) -> RawShop:
    """Cancelled lines (invoice number starts with C) become events of type `return` with a negative value."""
    lines, unreadable = _read_lines(path)
    progress("reading", 0.5, f"{path.name}: {len(lines):,} invoice lines")
    skipped: list[SkippedRows] = []
    lines = _skip(lines, pl.col("stock_code").str.contains(r"^\d{5}"), "code is no article", skipped)
    lines = _skip(lines, pl.col("unit_price") > 0, "price 0 or below", skipped)
    cancelled = pl.col("invoice").str.starts_with("C")
    lines = _skip(lines, (pl.col("quantity") > 0) | cancelled, "negative, but no cancellation", skipped)
    items = _items(lines)
    lines = _skip(lines, pl.col("user_id").is_not_null(), "no customer", skipped)
    events = lines.select(
        "user_id",
        "timestamp",
        "quantity",
        "unit_price",
        event=pl.when(cancelled).then(pl.lit("return")).otherwise(pl.lit("purchase")),
        item_id="stock_code",
        value=(pl.col("quantity") * pl.col("unit_price")).round(2),
        scenario="country",
        order_id="invoice",
        currency=pl.lit(_CURRENCY),
    )
    users = lines.group_by("user_id", maintain_order=True).agg(pl.col("country").mode(maintain_order=True).first())
    data = ShopData(
        conform(items, "items", path.name)[0],
        conform(users, "users", path.name)[0],
        conform(events, "events", path.name)[0],
    )
    progress(
        "reading", 1.0, f"{len(data.items):,} articles, {len(data.users):,} customers, {len(data.events):,} events"
    )
    return RawShop(data, "online-retail", tuple(unreadable), tuple(skipped))


def _read_lines(path: Path) -> tuple[pl.DataFrame, list[Unreadable]]:
    frame = read_delimited(path)
    found = {name: column for name, column in (_NAMES | _OTHER_NAMES).items() if column in frame.columns}
    found = {name: column for name, column in _NAMES.items() if column in frame.columns} | {
        name: column for name, column in found.items() if _NAMES[name] not in frame.columns
    }
    missing = [_NAMES[name] for name in _NAMES if name not in found]
    if missing:
        raise BadData(f"{path.name}: missing column {', '.join(missing)}; it has {', '.join(frame.columns)}")
    text = frame.select(pl.col(column).str.strip_chars().alias(name) for name, column in found.items())
    lines = text.with_columns(
        pl.col("stock_code").str.to_uppercase(),
        pl.col("user_id").str.replace(r"\.0+$", ""),
        pl.col("quantity", "unit_price").cast(pl.Float64, strict=False),
    )
    unreadable = []
    for column in ("quantity", "unit_price"):
        lost = text[column].filter(text[column].is_not_null() & lines[column].is_null())
        if len(lost):
            unreadable.append(Unreadable("events", _NAMES[column], len(lost), lost[0][:80]))
    return lines, unreadable


def _skip(lines: pl.DataFrame, wanted: pl.Expr, rule: str, skipped: list[SkippedRows]) -> pl.DataFrame:
    kept = lines.filter(wanted.fill_null(False))
    if len(kept) < len(lines):
        skipped.append(SkippedRows("events", rule, len(lines) - len(kept)))
    return kept


def _items(lines: pl.DataFrame) -> pl.DataFrame:
    """title: the most frequent description. price: median. created_at: first line seen."""
    return (
        lines.group_by("stock_code", maintain_order=True)
        .agg(
            pl.col("title").drop_nulls().mode(maintain_order=True).first(),
            pl.col("unit_price").median().alias("price"),
            pl.col("timestamp").first().alias("created_at"),
        )
        .rename({"stock_code": "item_id"})
        .with_columns(currency=pl.lit(_CURRENCY))
    )
