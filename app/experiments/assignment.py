"""Who sees which variant: a hash decides, so nothing has to be kept, and every process says the same for ever.

The name of the experiment is part of it: who was together in one test is not in the next. Source: Kohavi, Tang & Xu 2020, chapter 4.
"""

from __future__ import annotations

from hashlib import blake2b

from app.experiments.experiment import Experiment, Variant

POINTS = 2**64


def assigned(experiment: Experiment, user_id: str | None, session_id: str | None) -> Variant | None:
    """By the user where there is one, else by the session; None for a stranger and beyond all shares.

    Shares lie one behind the other: when the last one grows, nobody moves from one variant to another.
    """
    if user_id is None and session_id is None:
        return None
    kind, subject = ("u", user_id) if user_id is not None else ("s", session_id)
    text = "\0".join((experiment.name, kind, subject or "")).encode("utf-8", "surrogatepass")
    point = int.from_bytes(blake2b(text, digest_size=8).digest(), "little") / POINTS
    for variant in experiment.variants:
        if point < variant.share:
            return variant
        point -= variant.share
    return None
