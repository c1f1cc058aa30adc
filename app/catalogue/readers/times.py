"""Times as people write them to UTC microseconds: ISO 8601 with or without zone (taken as UTC), dates, unix times."""

from __future__ import annotations

import polars as pl

from app.catalogue.shop_data import TIME

# Unix times up to here are seconds (year 5138), up to its thousandfold milliseconds, then micro- and nanoseconds.
_MOST_SECONDS = 1e11
_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%d-%b-%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
)
_ZONED = "%Y-%m-%dT%H:%M:%S%.f%z"


def to_times(series: pl.Series) -> pl.Series:
    """Null where no form fits. Slashes are month first (as in the published CSV of Online Retail), dots day first."""
    if series.dtype == pl.Null:
        return series.cast(TIME)
    if series.dtype == pl.Date:
        return series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(series.dtype, pl.Datetime):
        zoned = series if series.dtype.time_zone else series.dt.replace_time_zone("UTC")
        return zoned.dt.convert_time_zone("UTC").cast(TIME)
    if series.dtype.is_numeric():
        return _from_unix(series)
    return _from_text(series)


def _from_unix(series: pl.Series) -> pl.Series:
    value = pl.col(series.name).cast(pl.Float64)
    size = value.abs()
    exact = pl.col(series.name).cast(pl.Int64, strict=False)
    micros = (
        pl.when(size < _MOST_SECONDS)
        .then((value * 1e6).round().cast(pl.Int64, strict=False))
        .when(size < _MOST_SECONDS * 1e3)
        .then((value * 1e3).round().cast(pl.Int64, strict=False))
        .when(size < _MOST_SECONDS * 1e6)
        .then(exact)
        .otherwise(exact // 1000)
    )
    return series.to_frame().select(micros.cast(TIME).alias(series.name)).to_series()


def _from_text(series: pl.Series) -> pl.Series:
    text = (
        series.str.strip_chars()
        .str.replace(r"\s*UTC$", "Z")
        .str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T")
        .str.replace("[zZ]$", "+0000")
        .str.replace(r"(T\S*[+-]\d\d):?(\d\d)$", "${1}${2}")
    )
    zoned = text.str.contains(r"T\S*[+-]\d{4}$").fill_null(False)
    found = text.set(~zoned, None).str.to_datetime(_ZONED, time_unit="us", strict=False).cast(TIME)
    for form in _FORMATS:
        missing = found.is_null() & text.is_not_null()
        if not missing.any():
            return found
        found = found.zip_with(~missing, _parse(text.set(~missing, None), form))
    missing = found.is_null() & text.is_not_null()
    numbers = text.set(~missing, None).cast(pl.Float64, strict=False)
    return found.zip_with(numbers.is_null(), _from_unix(numbers)) if numbers.is_not_null().any() else found


def _parse(text: pl.Series, form: str) -> pl.Series:
    if "%H" in form:
        return text.str.to_datetime(form, time_unit="us", strict=False).dt.replace_time_zone("UTC")
    return text.str.to_date(form, strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
