"""Not too many of one category (whole path) or brand. A cap yields before a slate would fall short. Shapes: C candidates, R rows of the view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from app.retrieval.filters import parse_filter
from app.scenarios.scenario import Caps
from app.serving.catalogue_view import CatalogueView, Label
from app.serving.draft import Draft
from app.types import BoolArray, Int64Array

RULE = "caps"


def limits_of(caps: Caps) -> dict[str, int]:
    """Item property -> most items of one value."""
    return {name: limit for name in ("category", "brand") if (limit := getattr(caps, name)) is not None}


class OpenUnderCaps:
    """Which candidates may still come in. standing: rows of the slate already, which count. Items without the property are never capped."""

    def __init__(self, caps: Caps, view: CatalogueView, rows_C: Int64Array, standing: Sequence[int] = ()) -> None:
        self.open_C = np.ones(len(rows_C), np.bool_)
        self._of: list[tuple[int, Int64Array, Counter[int]]] = []
        rows = np.concatenate([np.asarray(standing, np.int64), rows_C])
        for name, limit in limits_of(caps).items():
            codes = code_labels(view.labels(rows, name))
            code_C, counts = codes[len(standing) :], Counter(codes[: len(standing)].tolist())
            self._of.append((limit, code_C, counts))
            for code, count in counts.items():
                if count >= limit and code >= 0:
                    self.open_C &= code_C != code

    def take(self, candidate: int) -> None:
        for limit, code_C, counts in self._of:
            code = int(code_C[candidate])
            counts[code] += 1
            if code >= 0 and counts[code] >= limit:
                self.open_C &= code_C != code


def code_labels(labels: Sequence[Label]) -> Int64Array:
    """Equal labels get equal codes from 0; no label (None, or an empty path): -1."""
    code_of: dict[Label, int] = {}
    return np.asarray([code_of.setdefault(label, len(code_of)) if label else -1 for label in labels], np.int64)


def fitting(draft: Draft, rows_C: Int64Array, num: int) -> Int64Array:
    """The first num of the rows that the caps let in, one after the other."""
    caps = draft.asked.scenario.caps
    if not (draft.caps_hold and limits_of(caps)):
        return rows_C[:num]
    standing = [pick.row for pick in draft.standing()]
    under = OpenUnderCaps(caps, draft.live.catalogue, rows_C, standing)
    taken: list[int] = []
    for candidate in range(len(rows_C)):
        if len(taken) < num and under.open_C[candidate]:
            taken.append(candidate)
            under.take(candidate)
    return rows_C[taken]


def uncapped_R(draft: Draft) -> BoolArray:
    """bool [R]: rows whose category and brand have places left."""
    view = draft.live.catalogue
    open_R = np.ones(len(view), np.bool_)
    if draft.caps_hold:
        rows = np.asarray([pick.row for pick in draft.standing()], np.int64)
        for name, limit in limits_of(draft.asked.scenario.caps).items():
            for label, count in Counter(view.labels(rows, name)).items():
                if label and count >= limit:
                    spec = {"field": name, "eq": list(label) if isinstance(label, tuple) else label}
                    open_R &= ~view.matching(parse_filter(spec), draft.asked.now, None)
    return open_R
