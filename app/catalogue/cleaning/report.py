"""The cleaning report: for people (rich), for programs (JSON), and the file of rejected rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Group
from rich.markup import escape
from rich.table import Table

REJECT_SCHEMA = pl.Schema({"table": pl.String, "rule": pl.String, "detail": pl.String, "row": pl.String})


@dataclass(frozen=True, slots=True)
class Finding:
    """rule: what is wrong, e.g. "price below 0". count: rows. done: what was done. example: one such value."""

    table: str  # items, users, events
    rule: str
    count: int
    done: str
    example: str = ""


@dataclass(frozen=True)
class CleaningReport:
    """rows_read, rows_kept: table -> rows. notes: what is no error but worth knowing before training."""

    rows_read: Mapping[str, int]
    rows_kept: Mapping[str, int]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "rows_read": dict(self.rows_read),
            "rows_kept": dict(self.rows_kept),
            "findings": [asdict(finding) for finding in self.findings],
            "notes": list(self.notes),
        }

    def __rich__(self) -> Group:
        rows = Table("table", "read", "kept", title="Cleaning", title_justify="left")
        for name, read in self.rows_read.items():
            rows.add_row(name, f"{read:,}", f"{self.rows_kept[name]:,}")
        found = Table("table", "found", "rows", "done", "for example")
        for finding in self.findings:
            found.add_row(
                finding.table, escape(finding.rule), f"{finding.count:,}", escape(finding.done), escape(finding.example)
            )
        lines = [f"note: {escape(note)}" for note in self.notes]
        return Group(rows, *([found] if self.findings else ["nothing to clean"]), *lines)


def write_rejects(rejects: pl.DataFrame, path: Path) -> None:
    """One JSON object a line: table, rule, detail, row (the rejected row as JSON text)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rejects.write_ndjson(path)
