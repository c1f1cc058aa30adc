"""The gate: a new model goes live only if it is not worse than the live one beyond the interval."""

from __future__ import annotations

from dataclasses import dataclass

from app.learning.evaluation.compare import MAIN_METRIC, Judged, difference
from app.release.version import Verdict

MIN_USERS = 30  # fewer judged users tell nothing: the gate then lets the newer data win


@dataclass(frozen=True, slots=True)
class Ruling:
    verdict: Verdict
    reason: str


def rule(new: Judged, live: Judged | None, popularity: Judged) -> Ruling:
    """Both were fitted on the past only and judged on the same users' future: see `learning.run`."""
    num_users = len(new.topk_UK)
    if num_users < MIN_USERS:
        return Ruling(
            "not_judged", f"only {num_users} users have a future to judge by, {MIN_USERS} are needed; passed unjudged"
        )
    against, name = (live, "the live model") if live is not None else (popularity, "popularity")
    delta = difference(new, against)
    figures = f"{MAIN_METRIC} {new.main:.4f} against {against.main:.4f} of {name}, {num_users} users, 95 % interval of the difference {delta.low:+.4f} to {delta.high:+.4f}"
    if delta.high < 0:
        return Ruling("rejected", f"worse than {name}: {figures}")
    return Ruling("passed", f"not worse than {name}: {figures}")
