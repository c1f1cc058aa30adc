"""The plots of the evaluation report as SVG text, to stand inside an HTML page.

Called by `html_report` alone. matplotlib is told to draw without a display and without ids that change from run to run.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.learning.evaluation.report import OURS

MAIN = "ndcg@10"
OUR_COLOUR, PEER_COLOUR, LINE_COLOUR = "#0b6e4f", "#9aa5b1", "#52606d"
MAX_SCENARIOS = 15  # the largest ones; the page's table holds them all
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "duoscene", "svg.fonttype": "none", "text.parse_math": False,  # a name may hold dollar signs
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip


def style() -> AbstractContextManager[None]:
    """To draw in."""
    return mpl.rc_context(STYLE)


def models_plot(models: Mapping[str, Any], metric: str = MAIN) -> str:
    """Every model's mean with its interval, best on top."""
    names = sorted(models, key=lambda name: _mean(models[name]["all"], metric))
    means = [_mean(models[name]["all"], metric) for name in names]
    figure, axes = _figure(7.0, 0.32 * len(names) + 0.8)
    axes.barh(names, means, xerr=_errors([models[name]["all"][metric] for name in names]), color=[_colour(n) for n in names],
              error_kw={"ecolor": LINE_COLOUR, "capsize": 2})  # fmt: skip
    axes.set_xlabel(f"{metric}, 95 % interval")
    return _svg(figure)


def differences_plot(differences: Mapping[str, Any], metric: str = MAIN) -> str:
    """Ours minus each peer with the paired interval; right of the line ours is ahead."""
    names = sorted(differences, key=lambda name: -_mean(differences[name], metric))
    figure, axes = _figure(7.0, 0.32 * len(names) + 0.8)
    means = [_mean(differences[name], metric) for name in names]
    axes.errorbar(means, names, xerr=_errors([differences[name][metric] for name in names]), fmt="o", color=OUR_COLOUR,
                  ecolor=LINE_COLOUR, capsize=2)  # fmt: skip
    axes.axvline(0.0, color=LINE_COLOUR, linewidth=0.8, linestyle="--")
    axes.set_xlabel(f"{OURS} minus peer, {metric}, 95 % paired interval")
    return _svg(figure)


def slices_plot(models: Mapping[str, Any], kind: str, label: str) -> str:
    """Lines over the slices ("users" or "items" of the report), one for each model."""
    names = list(next(iter(models.values()))[kind])
    figure, axes = _figure(7.0, 3.0)
    for model, of in models.items():
        means = [_mean(of[kind].get(name, {}), MAIN) for name in names]
        width = 2.2 if model == OURS else 1.0
        axes.plot(names, means, marker="o", label=model, linewidth=width, color=OUR_COLOUR if model == OURS else None)
    axes.set_xlabel(label)
    axes.set_ylabel(MAIN)
    axes.legend(fontsize=7, ncols=2, frameon=False)
    return _svg(figure)


def scenarios_plot(models: Mapping[str, Any]) -> str:
    """Ours and the best peer of each scenario side by side."""
    ours = models[OURS]["scenarios"]
    names = list(ours)[:MAX_SCENARIOS]
    best = [max(_mean(of["scenarios"][name], MAIN) for model, of in models.items() if model != OURS) for name in names]
    places = range(len(names))
    figure, axes = _figure(7.0, 0.42 * len(names) + 0.8)
    axes.barh(
        [place + 0.2 for place in places],
        [_mean(ours[name], MAIN) for name in names],
        0.38,
        color=OUR_COLOUR,
        label=OURS,
    )
    axes.barh([place - 0.2 for place in places], best, 0.38, color=PEER_COLOUR, label="best peer there")
    axes.set_yticks(list(places), names)
    axes.set_xlabel(MAIN)
    axes.legend(fontsize=7, frameon=False)
    return _svg(figure)


def calibration_plot(calibration: Mapping[str, Any]) -> str:
    """Hit rate against predicted chance, bins of equal mass; on the diagonal the chances hold."""
    curve = calibration["curve"]
    figure, axes = _figure(3.6, 3.4)
    top = max(max(point["chance"], point["hit_rate"]) for point in curve) or 1.0
    axes.plot([0, top], [0, top], color=LINE_COLOUR, linewidth=0.8, linestyle="--")
    axes.plot(
        [point["chance"] for point in curve], [point["hit_rate"] for point in curve], marker="o", color=OUR_COLOUR
    )
    axes.set_xlabel("predicted chance of a hit")
    axes.set_ylabel("hit rate")
    return _svg(figure)


def fusion_plot(rows: Sequence[Mapping[str, Any]], metric: str = MAIN) -> str:
    """Every way of making a slate with its interval, in the order of the table; the first is what is served."""
    names = [row["variant"] if row["group"] == row["variant"] else f"{row['group']}: {row['variant']}" for row in rows]
    places = range(len(rows), 0, -1)
    figure, axes = _figure(7.0, 0.26 * len(rows) + 0.8)
    axes.barh(places, [_mean(row, metric) for row in rows], xerr=_errors([row[metric] for row in rows]),
              color=[OUR_COLOUR, *[PEER_COLOUR] * (len(rows) - 1)], error_kw={"ecolor": LINE_COLOUR, "capsize": 2})  # fmt: skip
    axes.set_yticks(list(places), names)
    axes.set_xlabel(f"{metric}, 95 % interval")
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]  # the XML declaration has no place inside a page


def _mean(figures: Mapping[str, Any], metric: str) -> float:
    value = figures.get(metric, {}).get("mean")
    return float("nan") if value is None else float(value)


def _errors(intervals: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Distances down and up from the mean."""
    known = [{**of, "low": of["low"] or 0.0, "high": of["high"] or 0.0} for of in intervals]
    return [[max(0.0, of["mean"] - of["low"]) for of in known], [max(0.0, of["high"] - of["mean"]) for of in known]]


def _colour(name: str) -> str:
    return OUR_COLOUR if name == OURS else PEER_COLOUR
