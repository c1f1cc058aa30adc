"""The scenario studies for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def study_table(report: Mapping[str, Any], control: str, title: str) -> Table:
    """report: model -> what `summarise` says of it."""
    scenarios = list(next(iter(report.values()))["scenarios"])
    table = Table("model", *scenarios, "macro", "worst", f"macro against {control}", title=title, title_justify="left")
    for model, figures in report.items():
        cells = [f"{figures['scenarios'][name]:.4f}" for name in scenarios]
        table.add_row(model, *cells, f"{figures['macro']:.4f}", f"{figures['worst']:.4f}", _difference(figures))
    return table


def _difference(figures: Mapping[str, Any]) -> str:
    if "against_control" not in figures:
        return ""
    macro = figures["against_control"]["macro"]
    return f"{macro['mean']:+.4f} [{macro['low']:+.4f}, {macro['high']:+.4f}]"
