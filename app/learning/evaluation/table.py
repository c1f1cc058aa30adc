"""The evaluation report for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from app.learning.evaluation.fusion_ablation import ALONE
from app.learning.evaluation.fusion_ablation import SHOWN as FUSION_SHOWN
from app.learning.evaluation.report import OURS
from app.learning.evaluation.transfer_table import transfer_table

SHOWN = ("ndcg@10", "hr@10", "recall@10", "recall@50", "mrr@10", "coverage@10", "novelty@10", "diversity@10")
MAIN = "ndcg@10"


def tables(report: Mapping[str, Any]) -> Iterator[Table]:
    yield model_table(report)
    for kind, title in (("users", "training events of the user"), ("items", "training events of the target")):
        yield from _slice_table(report, kind, title)
    yield from _scenario_table(report)
    if report.get("new_items"):
        yield _new_items_table(report["new_items"])
    transfer = transfer_table(report.get("details", {}).get("transfer", {}).get("report", {}))
    if transfer is not None:
        yield transfer


def model_table(report: Mapping[str, Any]) -> Table:
    figures = report["split"]
    title = (
        f"{figures['protocol']} split, repeats {figures['repeats']}: {figures['train_events']:,} events, "
        f"{figures['train_users']:,} users, {figures['train_items']:,} items; {figures['judged_users']:,} users judged on "
        f"{figures['targets']:,} targets"
    )
    table = Table("model", *SHOWN, "seconds", title=title, title_justify="left")
    for name, model in report["models"].items():
        cells = [_cell(model["all"].get(metric), with_interval=metric == MAIN) for metric in SHOWN]
        table.add_row(name, *cells, f"{model['seconds']:.0f}")
    return table


def _slice_table(report: Mapping[str, Any], kind: str, title: str) -> Iterator[Table]:
    models = report["models"]
    slices = next(iter(models.values()))[kind] if models else {}
    if slices:
        table = Table(title, "users", *models, title="NDCG@10 by what is known", title_justify="left")
        for name, of_slice in slices.items():
            cells = (_cell(model[kind].get(name, {}).get(MAIN)) for model in models.values())
            table.add_row(name, f"{of_slice['num_users']:,}", *cells)
        yield table


def _scenario_table(report: Mapping[str, Any]) -> Iterator[Table]:
    models = report["models"]
    scenarios = next(iter(models.values()))["scenarios"] if models else {}
    if scenarios:
        table = Table("scenario", *models, title="NDCG@10 by scenario", title_justify="left")
        for scenario in scenarios:
            table.add_row(scenario, *(_cell(model["scenarios"][scenario][MAIN]) for model in models.values()))
        table.add_section()
        summaries = [model["scenario_summary"] for model in models.values()]
        table.add_row("macro mean", *(f"{of['macro'][MAIN]:.4f}" for of in summaries))
        table.add_row("worst", *(f"{of['worst'][MAIN]:.4f} {of['worst']['scenario']}" for of in summaries))
        yield table


def _new_items_table(new: Mapping[str, Any]) -> Table:
    title = f"Targets without a training event: {new['targets']:,} of {new['num_users']:,} users, {new['new_items']:,} such items"
    table = Table("ours, ranked", MAIN, "hr@10", *new["chance"], title=title, title_justify="left")
    for row in ("among_new", "in_the_whole_catalogue"):
        table.add_row(row.replace("_", " "), *(_cell(new[row][metric]) for metric in (MAIN, "hr@10", *new["chance"])))
    table.add_row("chance among new", "", "", *(f"{value:.4f}" for value in new["chance"].values()))
    return table


def ablation_table(report: Mapping[str, Any]) -> Table:
    title = (
        f"Towers alone; {report['judged_users']:,} users judged on known items, {report['cold_users']:,} on "
        f"{report['withheld_items']:,} withheld items (chance {report['chance_recall@20']:.4f})"
    )
    table = Table("group", "variant", MAIN, "against the default", "recall@50", "recall@20, new items", title=title)
    for row in report["rows"]:
        delta = row["against_default"]
        change = f"{delta['mean']:+.4f} [{delta['low']:+.4f}, {delta['high']:+.4f}]"
        table.add_row(
            row["group"],
            row["variant"],
            _cell(row[MAIN]),
            change,
            *map(_cell, (row["recall@50"], row["cold_recall@20"])),
        )
    return table


def fusion_table(report: Mapping[str, Any]) -> Table:
    title = (
        f"One snapshot, slates of the same lists; {report['protocol']} split, repeats {report['repeats']}, "
        f"{report['judged_users']:,} users judged; served by: {report['ordered_by']}"
    )
    table = Table("slate", "of", *FUSION_SHOWN, "against the served one", title=title, title_justify="left")
    group = report["rows"][0]["group"]
    for row in report["rows"]:
        if row["group"] != group:
            table.add_section()
            group = row["group"]
        delta = row["against_served"]
        change = "" if delta["mean"] is None else f"{delta['mean']:+.4f} [{delta['low']:+.4f}, {delta['high']:+.4f}]"
        cells = (_cell(row[metric], with_interval=metric == MAIN) for metric in FUSION_SHOWN)
        table.add_row(group, row["variant"], *cells, change)
    return table


def verdict_line(report: Mapping[str, Any]) -> str:
    """report: of the fusion."""
    alone = {row["variant"]: row[MAIN] for row in report["rows"] if row["group"] == ALONE}
    served, best, delta = report["rows"][0][MAIN], alone[report["best_source"]], report["against_best_source"]
    return (
        f"beats the best single source with non-overlapping 95 % intervals: {'yes' if report['beats_best_source'] else 'no'} "
        f"(served {_range(served)}, {report['best_source']} {_range(best)}; difference {delta['mean']:+.4f}, "
        f"{delta['low']:+.4f} to {delta['high']:+.4f})"
    )


def difference_lines(report: Mapping[str, Any]) -> list[str]:
    lines = [f"{name} was left out: {reason}" for name, reason in report["skipped"].items()]
    for name, of in report.get("differences", {}).items():
        delta, seeds = of[MAIN], of["seeds"]
        line = (
            f"{OURS} against {name}: NDCG@10 {delta['mean']:+.4f} "
            f"(95 % paired interval {delta['low']:+.4f} to {delta['high']:+.4f})"
        )
        if seeds["seeds"] > 1:
            line += (
                f"; {seeds['seeds']} seeds: {seeds['mean']['mean']:+.4f} ({seeds['mean']['low']:+.4f} to "
                f"{seeds['mean']['high']:+.4f}), the same sign in {seeds['same_sign']}: {seeds['verdict']}"
            )
        lines.append(line)
    for name, of in report.get("scenario_differences", {}).items():
        macro, worst = of["macro"], of["worst"]
        lines.append(
            f"{OURS} against {name}, macro mean over scenarios: {macro['mean']:+.4f} ({macro['low']:+.4f} to "
            f"{macro['high']:+.4f}); lowest in {worst}: {of['scenarios'][worst]['mean']:+.4f} "
            f"({of['scenarios'][worst]['low']:+.4f} to {of['scenarios'][worst]['high']:+.4f})"
        )
    if calibration := report.get("calibration"):
        lines.append(
            f"calibration of {OURS}'s ten: hit rate {calibration['hit_rate']:.4f}, predicted {calibration['mean_chance']:.4f}, "
            f"ECE {calibration['ece@10_bins']:.4f} (10 bins of equal mass), {calibration['ece@15_bins']:.4f} (15)"
        )
        errors = {name: of["ece@10_bins"] for name, of in calibration["scenarios"].items()}
        if errors:
            lines.append("ECE by scenario: " + ", ".join(f"{name} {error:.4f}" for name, error in errors.items()))
    if unknown := report.get("without_history"):
        delta = unknown["difference"]
        lines.append(
            f"{unknown['num_users']:,} users without their history: NDCG@10 {unknown[OURS][MAIN]['mean']:.4f}, popularity "
            f"{unknown['popularity'][MAIN]['mean']:.4f}, difference {delta['mean']:+.4f} ({delta['low']:+.4f} to {delta['high']:+.4f})"
        )
    return lines


def _cell(value: Mapping[str, float | None] | None, with_interval: bool = False) -> str:
    if value is None or value["mean"] is None:
        return ""
    text = f"{value['mean']:.4f}"
    return f"{text} [{value['low']:.4f}, {value['high']:.4f}]" if with_interval else text


def _range(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"
