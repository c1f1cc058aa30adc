from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from app.catalogue.readers.times import to_times
from app.catalogue.shop_data import TIME


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.250+02:00", datetime(2026, 1, 2, 1, 4, 5, 250_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05-0130", datetime(2026, 1, 2, 4, 34, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05 UTC", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("12/1/2010 8:26", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ("01-Jan-1995", datetime(1995, 1, 1, tzinfo=UTC)),
        ("24.12.2025 18:00", datetime(2025, 12, 24, 18, tzinfo=UTC)),
        ("881250949", datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC)),
        ("1767225600123", datetime(2026, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC)),
        ("soon", None),
        (None, None),
    ],
)
def test_text_is_read_alone_and_among_others(written: str | None, meant: datetime | None) -> None:
    assert to_times(pl.Series("t", [written], pl.String)).to_list() == [meant]
    mixed = to_times(pl.Series("t", ["2020-02-29", written, "x"], pl.String))
    assert mixed.dtype == TIME
    assert mixed.to_list() == [datetime(2020, 2, 29, tzinfo=UTC), meant, None]


def test_unix_numbers_dates_and_naive_times_are_utc() -> None:
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    for stamp in (1_767_225_600, 1_767_225_600_000, 1_767_225_600_000_000, 1_767_225_600_000_000_000):
        assert to_times(pl.Series("t", [stamp, None])).to_list() == [new_year, None]
    assert to_times(pl.Series("t", [1_767_225_600.5])).to_list() == [new_year.replace(microsecond=500_000)]
    assert to_times(pl.Series("t", [date(2026, 1, 1)])).to_list() == [new_year]
    assert to_times(pl.Series("t", [new_year.replace(tzinfo=None)])).to_list() == [new_year]
    zoned = pl.Series("t", [new_year]).dt.convert_time_zone("Europe/Vienna")
    assert to_times(zoned).to_list() == [new_year]
