"""What is known at the moment of a request beyond its shopper: what sells now, what the editors pinned, and what was asked for.

Carried by a `UserBatch`, so that every source is asked in the same way. Serving fills it from the live state and the request,
training from the events before each case. Shapes: K rows of the item space, X phrases, T text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from app.types import Attributes, Float32Array, Int64Array


def _no_rows() -> Int64Array:
    return np.empty(0, np.int64)


def _no_scores() -> Float32Array:
    return np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """trending_rows_K, trending_scores_K: best first, scores above 0. pinned_rows_K: the pins active now, by position.

    query_T: encoded words of the query, None where nothing was asked. not_like_XT: encoded phrases of what is not wanted.
    at: unix seconds, None where nobody says. seen_rows_K, seen_times_K: what this shopper was shown of late without an act on it,
    and how often, decayed. context: what the request says of its surroundings (`device`, `country`, …).
    """

    trending_rows_K: Int64Array = field(default_factory=_no_rows)
    trending_scores_K: Float32Array = field(default_factory=_no_scores)
    pinned_rows_K: Int64Array = field(default_factory=_no_rows)
    query_T: Float32Array | None = None
    not_like_XT: Float32Array | None = None
    at: float | None = None
    seen_rows_K: Int64Array = field(default_factory=_no_rows)
    seen_times_K: Float32Array = field(default_factory=_no_scores)
    context: Attributes = field(default_factory=dict)


NO_MOMENT = Moment()
