"""The evaluation report, and that of the ablations, as one HTML page that needs nothing else: style and plots stand inside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup

from app.learning.evaluation import plots
from app.learning.evaluation.fusion_ablation import SHOWN
from app.learning.evaluation.report import OURS
from app.learning.evaluation.table import verdict_line

METRICS = (
    "ndcg@10", "hr@10", "recall@10", "recall@20", "recall@50", "precision@10", "f1@10", "mrr@10", "map@10", "coverage@10",
    "novelty@10", "diversity@10",
)  # fmt: skip
SLICES = {"users": "training events of the user", "items": "training events of the target"}


def html_report(report: Mapping[str, Any]) -> str:
    """report: as `evaluate` gives it, with "command" and "peak_memory_mib"."""
    with plots.style():
        drawn = _plots(report)
    return _template("report").render(report=report, metrics=METRICS, slices=SLICES, plots=drawn, ours=OURS)


def ablation_html(report: Mapping[str, Any]) -> str:
    """report: of the towers, of the fusion (under "fusion") or both, with "command" and "peak_memory_mib"."""
    fusion, drawn, verdict = report.get("fusion"), {}, ""
    if fusion:
        with plots.style():
            drawn["fusion"] = Markup(plots.fusion_plot(fusion["rows"]))  # noqa: S704  drawn by us
        verdict = verdict_line(fusion)
    return _template("ablation").render(report=report, plots=drawn, fusion_metrics=SHOWN, verdict=verdict)


def _plots(report: Mapping[str, Any]) -> dict[str, Markup]:
    """Plot name -> SVG; only those there is material for."""
    models = report["models"]
    drawn = {"models": plots.models_plot(models)}
    if report.get("differences"):
        drawn["differences"] = plots.differences_plot(report["differences"])
    for kind, label in SLICES.items():
        if len(next(iter(models.values()))[kind]) > 1:
            drawn[kind] = plots.slices_plot(models, kind, label)
    if OURS in models and len(models) > 1 and models[OURS]["scenarios"]:
        drawn["scenarios"] = plots.scenarios_plot(models)
    if report.get("calibration"):
        drawn["calibration"] = plots.calibration_plot(report["calibration"])
    return {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704  drawn by us, names are escaped by matplotlib


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("app.learning.evaluation", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["figure"] = _figure
    return environment.get_template(f"{name}.html.jinja")


def _figure(value: Mapping[str, Any] | None, signed: bool = False) -> str:
    """A mean with its interval behind it."""
    if not value or value["mean"] is None:
        return "–"
    mark = "+.4f" if signed else ".4f"
    text = format(value["mean"], mark)
    if value.get("low") is None:
        return text
    return f"{text} [{format(value['low'], mark)}, {format(value['high'], mark)}]"
