"""Chance that can be repeated: the same request with the same seed is answered by the same slate.

Where none is given, the seed is the shopper, the scenario and the period, so that a slate holds still while somebody looks at it and turns
page, and another shopper or a later hour sees another draw.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b

import numpy as np

from app.serving.rules import Asked

EXPLORATION_MINUTES = 10.0  # a drawn slate holds still for so long where the scenario has no rotation


def draw_for(purpose: str, asked: Asked) -> np.random.Generator:
    """purpose: rules draw apart from each other, so that switching one on does not change the other's draw."""
    return np.random.Generator(np.random.PCG64(_seed(purpose, asked)))


def _seed(purpose: str, asked: Asked) -> int:
    request, rotation = asked.request, asked.scenario.rotation
    shopper = request.user_id or request.session_id if asked.personal else None
    if request.seed is not None:
        period: float = request.seed
    elif shopper is None and purpose == "exploration":
        return secrets.randbits(64)  # all strangers of ten minutes together must not try the same item
    else:
        period = asked.now.timestamp() // (60 * (rotation.minutes if rotation else EXPLORATION_MINUTES))
    kind = "u" if request.user_id else "s"
    words = (
        purpose,
        kind if shopper else "",
        shopper or "",
        asked.scenario.name,
        str(request.seed is None),
        str(period),
    )
    text = "\0".join(words).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
