"""The quality figures of the README: `duoscene evaluate` on every public data set, gathered in results/quality.json.

    python tests/bench/bench_quality.py --data DIR            # all runs, one after the other; each is kept at once
    python tests/bench/bench_quality.py --data DIR --only "ml-1m loo"
    python tests/bench/bench_quality.py --gather report.json --revision 1a2b3c4 --only "ml-1m loo"   # a report of `evaluate --json`
    python tests/bench/bench_quality.py --table                          # the README's table from what is there

A report that is gathered adds its models to what is there of the same split: peers that take long may run by themselves. Each model
then keeps its own command and revision, and where two did not run together the interval of their difference is that of two
independent means, which is wider than a paired one.

The data sets are not part of the project; each run prints the command that anyone with the data can repeat.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

RESULTS = Path(__file__).parent / "results" / "quality.json"
OURS = "duoscene"
SPLIT = ("protocol", "repeats", "events", "min_value", "seed", "train_events", "judged_users", "targets")
KEPT = ("ndcg@10", "hr@10", "recall@50", "coverage@10")
RUNS: Mapping[str, tuple[str, ...]] = {
    "ml-1m loo": ("ml-1m", "--protocol", "loo", "--min-value", "4"),
    "ml-1m temporal": ("ml-1m", "--protocol", "temporal", "--min-value", "4"),
    "amazon-beauty-2014 loo": ("amazon-beauty-2014", "--protocol", "loo"),
    "amazon-toys-2014 loo": ("amazon-toys-2014", "--protocol", "loo"),
    "online-retail": ("online-retail", "--protocol", "temporal", "--events", "purchase"),
    "online-retail, repeats": (
        "online-retail", "--protocol", "temporal", "--events", "purchase", "--repeats", "allow",
    ),
    "ml-100k temporal": ("ml-100k", "--protocol", "temporal", "--min-value", "4"),
    "completejourney": ("completejourney", "--protocol", "temporal"),
    "completejourney, repeats": ("completejourney", "--protocol", "temporal", "--repeats", "allow"),
    "frappe loo": ("frappe", "--protocol", "loo"),
}  # fmt: skip


def main() -> None:
    options = _options()
    held: dict[str, Any] = orjson.loads(RESULTS.read_bytes()) if RESULTS.exists() else {}
    for name in () if options.table else options.only or RUNS:
        if options.gather:
            report = orjson.loads(options.gather.read_bytes())
            found = figures(report) | {"command": plain(report["command"]), "revision": options.revision}
        else:
            found = run(name, options.data, options.rest)
        held[name] = joined(held[name], found) if name in held else found
        ordered = {run_name: held[run_name] for run_name in RUNS if run_name in held}
        RESULTS.write_bytes(orjson.dumps(ordered, option=orjson.OPT_INDENT_2))
    print(table(held))


def run(name: str, data: Path, rest: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        dataset, *options = (*RUNS[name], *rest)
        command = ["evaluate", "--data", str(data / dataset), *options]
        subprocess.run([sys.executable, "-m", "app.cli", *command, "--json", str(report)], check=True)
        kept = figures(orjson.loads(report.read_bytes()))
    return {"command": " ".join(["duoscene", "evaluate", "--data", dataset, *options]), "revision": revision(), **kept}


def plain(command: str) -> str:
    """Without the places of one machine: the data by its name, nothing that was written."""
    words = command.split()
    for written in ("--json", "--dump", "--html"):
        if written in words:
            place = words.index(written)
            del words[place : place + 2]
    if "--data" in words:
        place = words.index("--data") + 1
        words[place] = Path(words[place]).name
    return " ".join(words)


def joined(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Of one split: the newer of what both measured, ours with all that belongs to it, and the models of both."""
    if different := [key for key in SPLIT if before["split"][key] != found["split"][key]]:
        raise SystemExit(f"not the same split: {', '.join(different)} differ; start this run anew")
    base, other = (found, before) if OURS in found["models"] else (before, found)
    origin = {key: other[key] for key in ("command", "revision")}
    added = {name: origin | of for name, of in other["models"].items() if name != OURS}
    if base is found:
        added = {name: of for name, of in added.items() if name not in found["models"]}
    models = {**base["models"], **added}
    differences = {name: of for name, of in base["differences"].items() if name not in added}
    if OURS in models:
        differences |= {name: apart(models[OURS], of) for name, of in added.items()}
    return {**base, "models": models, "differences": differences}


def apart(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Difference of two means that were not measured in one run, with the interval of independent ones."""
    a, b = ours["ndcg@10"], theirs["ndcg@10"]
    mean = a["mean"] - b["mean"]
    half = math.hypot((a["high"] - a["low"]) / 2, (b["high"] - b["low"]) / 2)
    return {"mean": round(mean, 5), "low": round(mean - half, 5), "high": round(mean + half, 5), "paired": False}


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of every model, differences with their intervals, what was chosen and what it cost."""
    models = {
        model: {**{metric: _rounded(of["all"][metric]) for metric in KEPT}, "seconds": round(of["seconds"], 1)}
        | ({"tuned": of["details"]} if "details" in of else {})
        for model, of in report["models"].items()
    }
    differences = {peer: _rounded(of.get("ndcg@10", of)) for peer, of in report.get("differences", {}).items()}
    scenarios = {
        model: of["scenario_summary"] | {name: _rounded(found["ndcg@10"]) for name, found in of["scenarios"].items()}
        for model, of in report["models"].items()
        if of.get("scenarios")
    }
    return {
        "split": report["split"],
        "models": models,
        "differences": differences,
        "scenarios": scenarios,
        "details": _without_courses(report.get("details", {})),
        "peak_memory_mib": report["peak_memory_mib"],
    }


def _without_courses(details: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen; not the course of the training, epoch by epoch and try by try."""
    training = {
        name: value for name, value in details.get("training", {}).items() if not isinstance(value, dict | list)
    }
    return {**details, "training": training}


def revision() -> str:
    """Of the code that was measured."""
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True, check=True
    ).stdout.strip()


def table(held: Mapping[str, Any]) -> str:
    """Markdown: NDCG@10 of ours and of the best peer of each run, and whether the interval of the difference excludes 0."""
    lines = ["| run | Duoscene | HR@10 | best peer | next peer | difference [95 %] |", "|---|---|---|---|---|---|"]
    for name, found in held.items():
        models = found["models"]
        if OURS not in models:
            continue
        peers = sorted(
            (model for model in models if model != OURS), key=lambda model: -models[model]["ndcg@10"]["mean"]
        )
        first, second = (f"{peer} {models[peer]['ndcg@10']['mean']:.4f}" for peer in peers[:2])
        delta = found["differences"][peers[0]]
        apart_mark = "" if delta.get("paired", True) else " †"
        ours = models[OURS]
        lines.append(
            f"| {name} | **{ours['ndcg@10']['mean']:.4f}** | {ours['hr@10']['mean']:.3f} | {first} | {second} "
            f"| {delta['mean']:+.4f} [{delta['low']:+.4f}, {delta['high']:+.4f}]{apart_mark} |"
        )
    return "\n".join(lines)


def _rounded(interval: Mapping[str, float | None]) -> dict[str, float | None]:
    return {key: None if value is None else round(value, 5) for key, value in interval.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), help="these runs")
    parser.add_argument("--rest", nargs=argparse.REMAINDER, default=[], help="last: further options of evaluate")
    parser.add_argument("--gather", type=Path, help="a report to be added to the run named by --only")
    parser.add_argument("--revision", help="of the code that the gathered report was made with")
    parser.add_argument("--table", action="store_true", help="print the table, run nothing")
    options = parser.parse_args()
    if options.gather and not (options.revision and options.only and len(options.only) == 1):
        parser.error("--gather needs --revision and one run in --only")
    if not options.table and not options.gather and options.data is None:
        parser.error("--data is needed to run; --table prints what is there")
    return options


if __name__ == "__main__":
    main()
