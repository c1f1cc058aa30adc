from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.catalogue.loading import detect_format, import_path, read_shop_data
from app.errors import BadData

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def test_import_reads_cleans_and_reports_both(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,price\na,1\nb,cheap\nc,-4\nc,2\n")
    stages: list[tuple[str, float]] = []
    cleaned = import_path(tmp_path, now=NOW, progress=lambda stage, done, note="": stages.append((stage, done)))
    assert cleaned.data.items.select("item_id", "price").rows() == [("a", 1.0), ("b", None), ("c", 2.0)]
    assert [(finding.rule, finding.count) for finding in cleaned.report.findings] == [
        ("price unreadable", 1), ("item_id repeated", 1),
    ]  # fmt: skip
    assert stages[-1] == ("cleaning", 1.0)


def test_consent_that_cannot_be_read_is_a_no_and_none_is_made_up(tmp_path: Path) -> None:
    answers = ["yes", "no", "maybe", "nein", ""]
    (tmp_path / "users.csv").write_text("user_id,train\n" + "".join(f"u{n},{a}\n" for n, a in enumerate(answers)))
    (tmp_path / "items.csv").write_text("item_id\na\n")
    cleaned = import_path(tmp_path, now=NOW)
    assert cleaned.data.users["train"].to_list() == [True, False, False, False, None]
    assert cleaned.data.users["personalize"].to_list() == [None] * 5
    (found,) = cleaned.report.findings
    assert (found.rule, found.count, found.done, found.example) == ("train unreadable", 2, "taken for a no", "maybe")


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("a.csv", "InvoiceNo,StockCode,Quantity,InvoiceDate\n", "online-retail"),
        ("a.csv", "item_id;price\n", "csv"),
        ("a.tsv", "item_id\tprice\n", "csv"),
        ("a.ndjson", "{}\n", "jsonl"),
        ("users.jsonl", "{}\n", "duoscene"),
        ("u.data", "", "movielens"),
    ],
)
def test_format_is_told_from_what_is_there(tmp_path: Path, name: str, text: str, format: str) -> None:
    (tmp_path / name).write_text(text)
    assert detect_format(tmp_path) == format


def test_what_is_no_shop_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such file or folder"):
        read_shop_data(tmp_path / "missing")
    with pytest.raises(BadData, match="found nothing readable"):
        read_shop_data(tmp_path)
    (tmp_path / "shop.xlsx").write_bytes(b"PK")
    with pytest.raises(BadData, match=r"shop\.xlsx: cannot tell what this is"):
        read_shop_data(tmp_path / "shop.xlsx")
    with pytest.raises(BadData, match="unknown format 'xml'"):
        read_shop_data(tmp_path, "xml")
    (tmp_path / "one.csv").write_text("item_id\n1\n")
    (tmp_path / "two.csv").write_text("item_id\n1\n")
    with pytest.raises(BadData, match=r"found one\.csv, two\.csv"):
        read_shop_data(tmp_path)
