"""`duoscene bench serve` and `bench scaling` in their smallest form: a shop of 4,000 items (a filter that keeps 1 % leaves full slates), loads of a second."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from app.benchmarks.bench import ServeConfig
from app.benchmarks.serve import run_serve
from app.cli import app
from app.embedded.postgres import is_alive
from app.errors import BadData

SMALLEST = ("--items", "4000", "--users", "20", "--seconds", "1", "--rounds", "1")


needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed (Debian: apt-get install wrk)")


@needs_wrk
def test_rows_are_measured_beside_their_references(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    asked = ["bench", "serve", *SMALLEST, "--rows", "bulk,feedback,filter,query,slates,strangers", "--json", str(out)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    report = orjson.loads(out.read_bytes())
    assert report["notes"] == []
    assert [row["name"] for row in report["rows"]] == ["slates", "filter", "query", "strangers", "feedback", "bulk"]
    of = {row["name"]: row["figures"] for row in report["rows"]}
    slates = of["slates"]
    assert 0 < slates["rate_per_s"] < slates["reference_rate_per_s"]
    assert 0 < slates["reference_cpu_ms"] < slates["cpu_ms"]
    assert slates["ratio"] == pytest.approx(slates["rate_per_s"] / slates["reference_rate_per_s"], rel=0.05)
    assert 0 < slates["p50_ms"] <= slates["p99_ms"]
    assert slates["rate_per_s_at_80_percent"] > 0
    assert of["filter"]["ratio"] > 0
    assert of["strangers"]["ratio"] > 0
    assert of["query"]["new_ms"] > 0
    assert of["query"]["encoder_ms"] > 0
    for name in ("feedback", "bulk"):
        assert of[name]["events_per_s"] > 0
        assert of[name]["reference_events_per_s"] > 0
    assert {"command", "revision", "machine", "cores"} <= set(report)
    assert report["machine"]["processor"]
    assert "4,000 items" in report["rows"][0]["what"]
    assert "degraded_share" in done.output


def test_an_unknown_row_is_named() -> None:
    with pytest.raises(BadData, match=r"no row 'speed'; choose from slates"):
        run_serve(ServeConfig(rows=("slates", "speed")), None)


@needs_wrk
def test_scaling_measures_every_pair_and_draws_it(tmp_path: Path) -> None:
    out, plot = tmp_path / "scaling.json", tmp_path / "scaling.png"
    asked = ["bench", "scaling", "--sizes", "1000", "--concurrency", "2,1", "--users", "20", "--seconds", "1"]
    done = CliRunner().invoke(app, [*asked, "--json", str(out), "--plot", str(plot)])
    assert done.exit_code == 0, done.output
    report = orjson.loads(out.read_bytes())
    assert report["notes"] == []
    measured = [(point["items"], point["concurrency"]) for point in report["points"]]
    assert measured == [(0, 1), (1000, 1), (0, 2), (1000, 2)]
    assert all(0 < point["p50_ms"] <= point["p99_ms"] and point["rate_per_s"] > 0 for point in report["points"])
    assert plot.read_bytes().startswith(b"\x89PNG")


@needs_wrk
def test_sigterm_leaves_no_store_and_no_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.cli", "bench", "serve", "--quick", "--folder", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as bench:
        assert bench.stdout is not None
        assert "make a shop" in bench.stdout.readline()  # PostgreSQL and Redis run by then
        (folder,) = tmp_path.iterdir()
        postgres = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
        bench.terminate()
        assert bench.wait(60) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())
    assert not is_alive(postgres)
