"""Rows, bounds, and what becomes of a row that cannot be measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import orjson
import pytest

from app.benchmarks.bench import Bench, ServeConfig
from app.benchmarks.cores import Cores
from app.benchmarks.feedback import best_of
from app.benchmarks.report import Bound, Report, Row
from app.benchmarks.serve import add
from app.encoding.encoder import Encoder
from app.errors import DuosceneError
from app.types import no_progress


@pytest.mark.parametrize(("value", "holds"), [(0.5, True), (0.2, False), (None, None)])
def test_a_bound_holds_fails_or_is_not_measured(value: float | None, holds: bool | None) -> None:
    assert Bound("ratio", least=0.25).holds({"ratio": value}) is holds
    assert Bound("ratio", most=0.25).holds({"ratio": value}) is (None if holds is None else not holds)


def test_the_round_with_the_median_ratio_counts() -> None:
    assert best_of([10.0, 90.0, 40.0], [10.0, 10.0, 20.0]) == {
        "events_per_s": 40.0, "reference_events_per_s": 20.0, "ratio": 2.0,
    }  # fmt: skip


def test_a_row_that_fails_keeps_what_it_had_and_costs_no_other(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    report = Report(out)

    def half(bench: Bench) -> Iterator[Row]:
        yield Row("half", "what", "reference", {"ratio": 0.5}, (Bound("ratio", least=0.25),))
        raise DuosceneError("the service ended")

    with ExitStack() as stack:
        add(report, "half", half, Bench(ServeConfig(), Cores((0,), 0), Encoder(), no_progress, stack))
    written = orjson.loads(out.read_bytes())
    assert written["rows"][0]["bounds"] == [{"bound": "ratio ≥ 0.25", "holds": True}]
    assert written["notes"] == ["half was not measured: the service ended"]
