"""The transfer report for the terminal: what sharing between scenarios gives and takes, and what the guard chose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from app.retrieval.transfer import OPTIONS


def transfer_table(report: Mapping[str, Any]) -> Table | None:
    """report: `Transfer.report`. None where no scenario had users enough to choose by."""
    rows = {name: row for name, row in report.items() if isinstance(row, Mapping)}
    if not rows:
        return None
    table = Table(
        "scenario", "users", *OPTIONS, "adapter - shared", "separate - shared", "choice", "item prior",
        title="transfer report: NDCG@10 on the validation cut, gains with 95 % paired intervals", title_justify="left",
    )  # fmt: skip
    for name, row in rows.items():
        figures = [f"{row['ndcg@10'][option]:.4f}" if option in row["ndcg@10"] else "" for option in OPTIONS]
        gains = [_gain(row["gain_over_shared"].get(option)) for option in OPTIONS[1:]]
        prior = f"x {row['prior_weight']}" if row["prior_weight"] else ""
        table.add_row(name, str(row["users"]), *figures, *gains, row["choice"], prior)
    return table


def _gain(gain: Mapping[str, float] | None) -> str:
    return "" if gain is None else f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
