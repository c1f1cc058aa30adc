"""The page holds every figure, stands alone, and lets no name of the data become markup."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from app.learning.evaluation.html_report import METRICS, html_report

ODD_NAME = "<b>sale</b> & $5 or $6"


def figures(mean: float) -> dict[str, Any]:
    return {metric: {"mean": mean, "low": mean - 0.01, "high": mean + 0.01} for metric in METRICS} | {
        "coverage@10": {"mean": mean, "low": None, "high": None},
        "diversity@10": {"mean": None, "low": None, "high": None},
    }


def model(mean: float) -> dict[str, Any]:
    return {
        "all": figures(mean),
        "users": {"1-4": {"num_users": 12, **figures(mean)}, "20+": {"num_users": 1_200, **figures(mean)}},
        "items": {"10+": {"num_users": 99, "targets": 100, **figures(mean)}},
        "scenarios": {ODD_NAME: figures(mean)},
        "scenario_summary": {"num": 1, "macro": {"ndcg@10": mean}, "worst": {"scenario": ODD_NAME, "ndcg@10": mean}},
        "seconds": 1.5,
    }  # fmt: skip


TUNED = {
    "parameters": {"half_life_days": None}, "validation_ndcg@10": None, "configurations_tried": 0,
    "tuning_seconds": 0.2, "tuning_seconds_at_most": 900.0,
}  # fmt: skip


@pytest.fixture
def report() -> dict[str, Any]:
    return {
        "command": "duoscene evaluate --data x",
        "peak_memory_mib": 1_234,
        "split": {
            "protocol": "loo", "repeats": "exclude", "train_events": 5_000, "train_users": 70, "train_items": 80,
            "judged_users": 60, "targets": 61, "dropped_targets": {"unknown to training": 3}, "validation": "part of it",
        },
        "models": {"popularity": {**model(0.1234), "details": TUNED}, "duoscene": model(0.4321)},
        "skipped": {"ease": "16,000 items with events"},
        "differences": {"popularity": {**figures(0.3087), "seeds": {"same_sign": 5, "seeds": 5, "verdict": "win"}}},
        "scenario_differences": {
            "popularity": {"scenarios": {ODD_NAME: figures(0.3)["ndcg@10"]}, "macro": figures(0.2999)["ndcg@10"], "worst": ODD_NAME}
        },
        "new_items": {
            "num_users": 20, "targets": 30, "new_items": 40, "among_new": figures(0.2), "in_the_whole_catalogue": figures(0.05),
            "chance": {"recall@10": 0.25, "recall@20": 0.5, "recall@50": 1.0},
        },
        "calibration": {
            "pairs": 600, "hit_rate": 0.1, "mean_chance": 0.11, "brier": 0.09, "ece@10_bins": 0.0123, "ece@15_bins": 0.0145,
            "curve": [{"pairs": 60, "chance": 0.05, "hit_rate": 0.04}, {"pairs": 60, "chance": 0.2, "hit_rate": 0.21}],
            "scenarios": {ODD_NAME: {"pairs": 90, "hit_rate": 0.2, "mean_chance": 0.22, "ece@10_bins": 0.0678}},
        },
        "without_history": {
            "num_users": 80, "duoscene": figures(0.0567), "popularity": figures(0.04), "difference": figures(0.0167)["ndcg@10"],
        },
    }  # fmt: skip


def test_every_part_is_there(report: dict[str, Any]) -> None:
    page = html_report(report)
    for words in (
        "0.4321 [0.4221, 0.4421]",
        "+0.3087",
        "5 of 5",
        "win",
        "16,000 items",
        "0.0123",
        "0.0678",
        "0.0567",
        "1,234 MiB",
        "3 unknown",
    ):
        assert words in page
    assert page.count("<svg") == 5  # models, differences, users, scenarios, calibration; one item slice is no line


def test_it_needs_nothing_from_elsewhere(report: dict[str, Any]) -> None:
    page = html_report(report)
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)[^"']+|@import|url\((?!#)|<script|<link""", page)


def test_names_of_the_data_are_text(report: dict[str, Any]) -> None:
    page = html_report(report)
    assert "<b>" not in page
    assert page.count("&lt;b&gt;sale&lt;/b&gt; &amp; $5 or $6") >= 4  # in the table and in the plot
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_it_is_the_same_every_time(report: dict[str, Any]) -> None:
    assert html_report(report) == html_report(report)


def test_peers_alone_make_a_page(report: dict[str, Any]) -> None:
    for part in ("differences", "scenario_differences", "new_items", "calibration", "without_history"):
        del report[part]
    del report["models"]["duoscene"]
    page = html_report(report)
    assert "popularity" in page
    assert "Calibration" not in page
