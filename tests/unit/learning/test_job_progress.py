from __future__ import annotations

import pytest

from app.errors import Cancelled
from app.learning.job_progress import JobProgress
from app.learning.jobs import LOG_TAIL_LINES

STAGES = {"read": 1.0, "train": 3.0}


def test_a_stage_counts_with_its_share_of_the_whole() -> None:
    progress = JobProgress(STAGES)
    progress("read", 0.5)
    assert progress.fraction == pytest.approx(0.125)
    progress("train", 1 / 3)
    assert progress.fraction == pytest.approx(0.5)
    progress("train", 1.0)
    assert progress.fraction == pytest.approx(1.0)


def test_progress_never_falls_and_an_unknown_stage_keeps_it() -> None:
    progress = JobProgress(STAGES)
    progress("train", 0.5)
    before = progress.fraction
    progress("read", 0.1)
    progress("a detour", 0.9)
    assert progress.fraction == before
    assert progress.stage == "a detour"


def test_a_stopped_job_raises_at_its_next_report() -> None:
    progress = JobProgress(STAGES)
    progress.stop()
    with pytest.raises(Cancelled):
        progress("read", 0.0)


def test_log_lines_are_taken_once_and_bounded() -> None:
    progress = JobProgress(STAGES)
    for number in range(LOG_TAIL_LINES + 5):
        progress("train", 0.0, f"epoch {number}")
    lines = progress.take_log()
    assert len(lines) == LOG_TAIL_LINES
    assert lines[-1] == f"train: epoch {LOG_TAIL_LINES + 4}"
    assert progress.take_log() == []


def test_eta_comes_with_the_first_real_progress() -> None:
    progress = JobProgress(STAGES)
    assert progress.eta_seconds() is None
    progress("read", 1.0)
    eta = progress.eta_seconds()
    assert eta is not None
    assert eta >= 0.0


def test_whoever_draws_sees_every_line_that_the_log_takes() -> None:
    progress = JobProgress(STAGES)
    progress("train", 0.5, "epoch 1")
    assert progress.take_log() == progress.take_unseen() == ["train: epoch 1"]
    progress("train", 0.6, "epoch 2")
    assert progress.take_unseen() == ["train: epoch 2"]
    assert progress.take_unseen() == []
