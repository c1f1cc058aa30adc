"""Newest first, by publication."""

from __future__ import annotations

import numpy as np

from app.features.users import UserBatch
from app.retrieval.index import Neighbours
from app.retrieval.sources.lists import first_allowed, stack
from app.retrieval.space import ItemSpace
from app.types import BoolArray


class NewSource:
    name = "new"

    def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
        rows = space.newest_R[first_allowed(space.newest_R, allowed_R, num)]
        published = space.published_R[rows]
        known = np.isfinite(published)
        return stack([(rows[known].astype(np.int64), published[known].astype(np.float32))] * len(users))
