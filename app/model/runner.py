"""The towers for those who know no torch: numpy in, numpy out, no gradients. Used by retrieval, so by serving and evaluation.

Shapes: B users, L history, N items, S scenarios, T text, D dim.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from app.features.items import ItemFeatures
from app.features.users import PAD, UserBatch
from app.model.towers import Towers
from app.types import Float32Array, Int64Array

ITEM_CHUNK = 16_384


class TowerRunner:
    def __init__(self, towers: Towers) -> None:
        self.towers = towers.eval()

    @classmethod
    def load(cls, directory: Path) -> TowerRunner:
        return cls(Towers.load(directory))

    @property
    def dim(self) -> int:
        return self.towers.config.dim

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

    @torch.inference_mode()
    def user_vectors(
        self, users: UserBatch, item_vectors_ND: Float32Array, scenario_vectors_SD: Float32Array
    ) -> Float32Array:
        """Unit rows float32 [B, D] for the moment the batch was folded at."""
        lengths_B = (users.history_BL != PAD).sum(1)
        L = max(1, int(lengths_B.max(initial=0)))
        rows_BL, ages_BL = users.history_BL[:, :L], users.ages_BL[:, :L]
        visible_BL = rows_BL != PAD
        gap_BL = np.zeros_like(ages_BL)
        gap_BL[:, 1:] = np.where(visible_BL[:, 1:], ages_BL[:, :-1] - ages_BL[:, 1:], 0.0)
        B = np.arange(len(users))
        recency_BP = np.zeros((len(users), L + 1), np.float32)
        recency_BP[B, lengths_B] = np.where(lengths_B > 0, ages_BL[B, np.maximum(lengths_B - 1, 0)], 0.0)
        scenario_B1D = torch.from_numpy(scenario_vectors_SD[users.scenario_B])[:, None]
        out_BPD = self.towers.user(
            torch.from_numpy(item_vectors_ND[np.where(visible_BL, rows_BL, 0)]),
            torch.from_numpy(np.ascontiguousarray(users.kinds_BL[:, :L])),
            torch.from_numpy(gap_BL),
            torch.from_numpy(visible_BL),
            torch.from_numpy(recency_BP),
            torch.from_numpy(users.profile_BT),
            scenario_B1D.expand(-1, L + 1, -1),
        )
        vectors: Float32Array = out_BPD.numpy()[B, lengths_B]
        return vectors
