"""The `bench` commands: measure on this machine, print a table, write JSON."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import orjson
from rich.table import Table

from app.console import console, progress_bar


def run_bench_rank(runs: int, json: Path | None) -> bool:
    """Whether the bound holds."""
    from app.benchmarks.rank import bench_rank

    with progress_bar() as bar:
        result = bench_rank(runs, bar.report)
    table = Table(
        title=f"Ranking {result['candidates']} candidates, {result['features']} features, {result['items']} items"
    )
    for column in ("step", "p50 CPU ms", "p95 CPU ms"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for name, of in cast(dict[str, dict[str, float]], result["cpu_ms"]).items():
        table.add_row(name, f"{of['p50_ms']:.3f}", f"{of['p95_ms']:.3f}")
    console.print(table)
    console.print(f"at most {result['bound_ms']} ms: {'holds' if result['holds'] else 'does not hold'}")
    if json is not None:
        json.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    return bool(result["holds"])
