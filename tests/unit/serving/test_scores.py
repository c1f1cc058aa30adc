"""Scores leave with six digits, exactly as `round` would have it."""

from __future__ import annotations

import math

import numpy as np

from app.serving.fallback import RANK_CONSTANT, Pick, fill
from app.serving.recommender import MAX_N, rounded


def test_scores_are_rounded_as_round_does():
    draw = np.random.default_rng(7)
    bits = draw.integers(0, 1 << 32, 50_000, dtype=np.uint32).view(np.float32)
    usual = draw.normal(0.0, 3.0, 50_000).astype(np.float32)
    halves = (draw.integers(-(1 << 20), 1 << 20, 50_000) / 128.0).astype(np.float32)  # 1/128 ends in ...125: a tie
    filled: list[Pick] = []
    fill(filled, np.arange(MAX_N), "popular", MAX_N)
    assert filled[-1].score == (RANK_CONSTANT + 1) / (RANK_CONSTANT + MAX_N)
    scores = [
        score for drawn in (bits, usual, halves) for score in drawn.tolist() if math.isfinite(score)
    ] + [pick.score for pick in filled] + [-1e-9, 0.0, -0.0]  # fmt: skip
    found = rounded([Pick(0, score, ()) for score in scores])
    assert [repr(score) for score in found] == [repr(round(score, 6)) for score in scores]
    assert rounded([]) == []
