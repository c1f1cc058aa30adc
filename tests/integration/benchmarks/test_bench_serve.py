"""`duoscene bench serve` in its smallest form: a shop of 1,000 items, loads of a second."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from app.benchmarks.report import Bound
from app.benchmarks.serve import ServeConfig, run_serve
from app.cli import app
from app.errors import BadData

SMALLEST = ("--items", "1000", "--users", "20", "--seconds", "1", "--rounds", "1")


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed (Debian: apt-get install wrk)")
def test_slates_are_measured_beside_the_bare_route(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    done = CliRunner().invoke(app, ["bench", "serve", *SMALLEST, "--rows", "slates", "--json", str(out)])
    assert done.exit_code == 0, done.output
    report = orjson.loads(out.read_bytes())
    (row,) = report["rows"]
    figures = row["figures"]
    assert 0 < figures["rate_per_s"] < figures["bare_rate_per_s"]
    assert 0 < figures["bare_cpu_ms"] < figures["cpu_ms"]
    assert figures["ratio"] == pytest.approx(figures["rate_per_s"] / figures["bare_rate_per_s"], rel=0.01)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert {"command", "revision", "machine", "rows"} <= set(report)
    assert report["machine"]["processor"]
    assert "1,000 items" in row["what"]
    assert "slates" in done.output


def test_an_unknown_row_is_named() -> None:
    with pytest.raises(BadData, match=r"no row 'speed'; choose from slates"):
        run_serve(ServeConfig(rows=("slates", "speed")), None)


@pytest.mark.parametrize(("value", "holds"), [(0.5, True), (0.2, False), (None, None)])
def test_a_bound_holds_fails_or_is_not_measured(value: float | None, holds: bool | None) -> None:
    assert Bound("ratio", least=0.25).holds({"ratio": value}) is holds
    assert Bound("ratio", most=0.25).holds({"ratio": value}) is (None if holds is None else not holds)
