"""The evaluation report for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

SHOWN = ("ndcg@10", "hr@10", "recall@10", "recall@50", "mrr@10", "coverage@10", "novelty@10", "diversity@10")


def model_table(report: Mapping[str, Any]) -> Table:
    figures = report["split"]
    title = (
        f"{figures['protocol']} split, repeats {figures['repeats']}: {figures['train_events']:,} events, "
        f"{figures['train_users']:,} users, {figures['train_items']:,} items; {figures['judged_users']:,} users judged on "
        f"{figures['targets']:,} targets"
    )
    table = Table("model", *SHOWN, "seconds", title=title, title_justify="left")
    for name, model in report["models"].items():
        cells = [_cell(model["all"].get(metric), with_interval=metric == "ndcg@10") for metric in SHOWN]
        table.add_row(name, *cells, f"{model['seconds']:.0f}")
    return table


def scenario_table(report: Mapping[str, Any]) -> Table | None:
    """NDCG@10 of each scenario; None where events carry none."""
    models = report["models"]
    scenarios = next(iter(models.values()))["scenarios"] if models else {}
    if not scenarios:
        return None
    table = Table("scenario", *models, title="NDCG@10 by scenario", title_justify="left")
    for scenario in scenarios:
        table.add_row(scenario, *(_cell(model["scenarios"][scenario]["ndcg@10"]) for model in models.values()))
    return table


def difference_lines(report: Mapping[str, Any]) -> list[str]:
    return [
        f"duoscene against {name}: NDCG@10 {delta['mean']:+.4f} (95 % paired interval {delta['low']:+.4f} to {delta['high']:+.4f})"
        for name, delta in report.get("differences", {}).items()
    ]


def _cell(value: Mapping[str, float | None] | None, with_interval: bool = False) -> str:
    if value is None or value["mean"] is None:
        return ""
    text = f"{value['mean']:.4f}"
    return f"{text} [{value['low']:.4f}, {value['high']:.4f}]" if with_interval else text
