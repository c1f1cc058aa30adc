"""Rows are dropped and cells mended through a ledger, so that nothing disappears uncounted."""

from __future__ import annotations

import polars as pl

from app.catalogue.cleaning.report import REJECT_SCHEMA, Finding

MAX_REJECTS_PER_RULE = 10_000  # kept in memory and written to the file; all are counted


class Ledger:
    def __init__(self, findings: tuple[Finding, ...] = ()) -> None:
        self.findings = list(findings)
        self._rejects: list[pl.DataFrame] = []

    def drop(self, table: str, frame: pl.DataFrame, wrong: pl.Expr, rule: str, done: str = "rejected") -> pl.DataFrame:
        """Without the rows where `wrong` holds (null: it does not)."""
        mask = frame.select(wrong.fill_null(False).alias("wrong")).to_series()
        count = int(mask.sum())
        if count == 0:
            return frame
        rejected = frame.filter(mask).head(MAX_REJECTS_PER_RULE)
        self._rejects.append(
            rejected.select(
                pl.lit(table).alias("table"),
                pl.lit(rule).alias("rule"),
                pl.lit(done).alias("detail"),
                pl.struct(_for_json(rejected)).struct.json_encode().alias("row"),
            )
        )
        if count > MAX_REJECTS_PER_RULE:
            done = f"{done} (the first {MAX_REJECTS_PER_RULE:,} are in the file)"
        self.findings.append(Finding(table, rule, count, done))
        return frame.filter(~mask)

    def mend(
        self, table: str, frame: pl.DataFrame, column: str, wrong: pl.Expr, rule: str, done: str = "set to nothing",
        by: pl.Expr | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """With the cells of `column` replaced where `wrong` holds; by: the new values, default null."""
        mask = frame.select(wrong.fill_null(False).alias("wrong")).to_series()
        count = int(mask.sum())
        if count == 0:
            return frame
        example = "" if column in ("text",) else str(frame[column].filter(mask)[0])[:60]
        self.findings.append(Finding(table, rule, count, done, "" if example == "None" else example))
        return frame.with_columns(pl.when(mask).then(by).otherwise(pl.col(column)).alias(column))

    def count(self, table: str, rule: str, count: int, done: str) -> None:
        if count:
            self.findings.append(Finding(table, rule, count, done))

    def rejects(self) -> pl.DataFrame:
        return pl.concat([REJECT_SCHEMA.to_frame(), *self._rejects])


def _for_json(frame: pl.DataFrame) -> list[pl.Expr]:
    """Numbers as text, because JSON knows neither NaN nor infinity; times as ISO 8601."""
    return [
        pl.col(name).cast(pl.String)
        if dtype.is_float()
        else pl.col(name).dt.to_string("iso:strict")
        if dtype.is_temporal()
        else pl.col(name)
        for name, dtype in frame.schema.items()
    ]
