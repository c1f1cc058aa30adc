"""The towers for those who know no torch: numpy in, numpy out, no gradients. Used by retrieval, so by serving and evaluation.

Shapes: B users, L history, N items, S scenarios, T text, D dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from app.features.items import ItemFeatures
from app.features.users import PAD, UserBatch
from app.model import separate
from app.model.separate import Delta
from app.model.serving_tower import ServingTower
from app.model.towers import Towers
from app.model.user_tower import UserTower
from app.types import Float32Array, Int64Array

ITEM_CHUNK = 16_384


class TowerRunner:
    def __init__(self, towers: Towers, deltas: Mapping[str, Delta] | None = None) -> None:
        """deltas: scenario -> how its own user tower differs from the shared one, see `separate`."""
        self.towers = towers.eval()
        self.deltas = deltas or {}
        self._users: dict[str | None, UserTower] = {None: towers.user}
        self._users |= {name: separate.applied(towers.user, delta) for name, delta in self.deltas.items()}
        self._quick = {name: ServingTower(tower) for name, tower in self._users.items() if ServingTower.can(tower)}

    @classmethod
    def load(cls, directory: Path) -> TowerRunner:
        return cls(Towers.load(directory), separate.load(directory))

    def save(self, directory: Path) -> None:
        self.towers.save(directory)
        separate.save(self.deltas, directory)

    @property
    def dim(self) -> int:
        return self.towers.config.dim

    @property
    def temperature(self) -> float:
        return float(self.towers.temperature.detach())

    @torch.inference_mode()
    def item_vectors(
        self, id_N: Int64Array, text_NT: Float32Array, count_N: Int64Array, features: ItemFeatures
    ) -> Float32Array:
        """Unit rows float32 [N, D]. id_N: rows of the id table, 0 for an item that training never saw."""
        parts = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(id_N), ITEM_CHUNK):
            cut = slice(start, start + ITEM_CHUNK)
            columns = (
                id_N[cut], text_NT[cut], count_N[cut], features.category_N[cut], features.department_N[cut],
                features.brand_N[cut], features.price_N[cut],
            )  # fmt: skip
            parts.append(self.towers.item(*(torch.from_numpy(np.ascontiguousarray(c)) for c in columns)).numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def scenario_vectors(self, id_S: Int64Array, text_ST: Float32Array) -> Float32Array:
        vectors: Float32Array = self.towers.user.scenario(torch.from_numpy(id_S), torch.from_numpy(text_ST)).numpy()
        return vectors

    def user_vectors(
        self, users: UserBatch, item_BLD: Float32Array, scenario_BD: Float32Array, own: str | None = None
    ) -> Float32Array:
        """Unit rows float32 [B, D], for the moment the batch was folded at. item_BLD: vectors of `users.history_BL`.

        own: the scenario whose own user tower shall answer; None: the shared one.
        """
        if own in self._quick:
            return self._quick[own].vectors(users, item_BLD, scenario_BD)
        return self._by_torch(users, item_BLD, scenario_BD, own)

    @torch.inference_mode()
    def _by_torch(
        self, users: UserBatch, item_BLD: Float32Array, scenario_BD: Float32Array, own: str | None
    ) -> Float32Array:
        users, item_BLD = _newest(users, item_BLD, self.towers.config.length)
        visible_BL = users.history_BL != PAD
        lengths_B = visible_BL.sum(1)
        gap_BL = np.zeros(users.ages_BL.shape, np.float32)
        gap_BL[:, 1:] = np.where(visible_BL[:, 1:], users.ages_BL[:, :-1] - users.ages_BL[:, 1:], 0.0)
        newest_B = users.ages_BL[np.arange(len(users)), np.maximum(lengths_B - 1, 0)]
        recency_B = np.where(lengths_B > 0, newest_B, 0.0).astype(np.float32)
        out_B1D = self._users[own](
            torch.from_numpy(item_BLD),
            torch.from_numpy(users.kinds_BL),
            torch.from_numpy(gap_BL),
            torch.from_numpy(visible_BL),
            torch.from_numpy(recency_B)[:, None],
            torch.from_numpy(users.profile_BT),
            torch.from_numpy(scenario_BD)[:, None],
            torch.from_numpy(lengths_B),
        )
        vectors: Float32Array = out_B1D.numpy()[:, 0]
        return vectors


def _newest(users: UserBatch, item_BLD: Float32Array, length: int) -> tuple[UserBatch, Float32Array]:
    """The newest `length` events of each row, and no more columns than the longest history fills."""
    lengths_B = (users.history_BL != PAD).sum(1)
    L = min(length, max(1, int(lengths_B.max(initial=0))))
    columns_BL = np.maximum(lengths_B - L, 0)[:, None] + np.arange(L)
    each_B1 = np.arange(len(users))[:, None]
    cut = UserBatch(
        users.history_BL[each_B1, columns_BL],
        users.kinds_BL[each_B1, columns_BL],
        users.ages_BL[each_B1, columns_BL],
        users.profile_BT,
        users.scenario_B,
    )
    return cut, item_BLD[each_B1, columns_BL]
