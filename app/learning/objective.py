"""What one step of the training minimises: the loss of a batch of windows.

Shapes: B windows, L window length, T targets of the batch, C of them predicted from the profile alone, N items, M items of the
step, D dim, U users, S scenarios.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from app.learning.auxiliary import query_text_loss, scenario_text_loss, user_text_loss
from app.learning.dataset import Interactions
from app.learning.inputs import Inputs
from app.learning.loss import (
    FULL_SOFTMAX_BELOW,
    UNIFORM_NEGATIVES,
    bce,
    full_softmax,
    in_batch_softmax,
    sample_negatives,
)
from app.learning.training_config import Loss, TrainingConfig
from app.learning.windows import NOTHING
from app.model.towers import Towers
from app.types import Float32Array, Int64Array

MAX_SCENARIO_BOOST = 4.0
STRANGERS_PER_WINDOW, STRANGER_WEIGHT = 4, 0.3  # targets predicted from the profile's words alone, and their weight


class Objective:
    """weight_E: of each event as a target, 0 where there is nothing to predict. All chance is drawn from rng and a generator
    of torch."""

    def __init__(
        self, data: Interactions, inputs: Inputs, towers: Towers, config: TrainingConfig, rng: np.random.Generator
    ) -> None:
        """data: collapsed."""
        self.data, self.inputs, self.towers, self.config = data, inputs, towers, config
        self._rng = rng
        self.generator = torch.Generator().manual_seed(config.seed)
        N = len(data.item_ids)
        chosen: Loss = "full" if N <= FULL_SOFTMAX_BELOW else "sampled"
        self._loss_name = chosen if config.loss == "auto" else config.loss
        self._count_N = torch.from_numpy(data.item_counts_N)
        self._id_N = torch.where(self._count_N > 0, torch.arange(1, N + 1), 0)
        self._has_profile_U = inputs.profile_UT.says_something_R
        self.weight_E = torch.from_numpy(self._target_weights())

    def begin_epoch(self) -> None:
        """Hard negatives are searched among the item vectors of this moment."""
        if self.config.hard_negatives:
            self._look_up()

    def trained(self) -> list[torch.nn.Parameter]:
        """What the optimiser may change."""
        return list(self.towers.parameters())

    def loss(self, events_BL: Int64Array) -> Tensor | None:
        """events_BL: places of events, NOTHING behind the shorter windows. None where nothing is to be predicted."""
        target_BL = torch.from_numpy((events_BL != NOTHING) & (self.weight_E.numpy()[np.maximum(events_BL, 0)] > 0))
        if not bool(target_BL.any()):
            return None
        events_T = torch.from_numpy(events_BL)[target_BL].numpy()
        item_T = torch.from_numpy(self.data.item_E[events_T].astype(np.int64))
        cold_C = self._strangers(events_T, len(events_BL))
        weight_TC = torch.cat([self.weight_E[events_T], STRANGER_WEIGHT * self.weight_E[events_T[cold_C]]])
        cold_CD = self._by_profile(events_T[cold_C])
        if self._loss_name in ("full", "bce"):
            item_ND = self.item_vectors()
            user_TCD = torch.cat([self._users(events_BL, item_ND, None)[target_BL], cold_CD])
            target_TC = torch.cat([item_T, item_T[cold_C]])
            texts = self._text_losses(events_T, item_ND, item_T, self._count_N)
            if self._loss_name == "full":
                return full_softmax(user_TCD, item_ND, target_TC, weight_TC, self.towers.temperature) + texts
            negative_TC = torch.randint(0, len(item_ND), target_TC.shape, generator=self.generator)
            return bce(user_TCD, item_ND, target_TC, weight_TC, self.towers.temperature, negative_TC) + texts
        place_M, target_T, log_q_M = sample_negatives(
            item_T,
            self._count_N,
            self.generator,
            UNIFORM_NEGATIVES if self._loss_name == "sampled" else 0,
            self._hard(item_T),
        )
        rows, place = torch.unique(
            torch.cat(
                [place_M, torch.from_numpy(self.data.item_E[np.maximum(events_BL, 0)].astype(np.int64)).flatten()]
            ),
            return_inverse=True,
        )
        vectors = self.item_vectors(rows)
        history_BL = place[len(place_M) :].view(events_BL.shape)
        user_TCD = torch.cat([self._users(events_BL, vectors, history_BL)[target_BL], cold_CD])
        target_TC = torch.cat([target_T, target_T[cold_C]])
        items_MD = vectors[place[: len(place_M)]]
        tau, alpha = self.towers.temperature, self.config.logq_alpha
        texts = self._text_losses(events_T, items_MD, target_T, self._count_N[place_M])
        return in_batch_softmax(user_TCD, items_MD, target_TC, weight_TC, tau, log_q_M, alpha) + texts

    def _text_losses(self, events_T: Int64Array, item_MD: Tensor, place_T: Tensor, count_M: Tensor) -> Tensor:
        """The auxiliary losses by their weights; place_T: column of each target among the M items."""
        config = self.config
        user, scenario, query = config.user_text_weight, config.scenario_text_weight, config.query_text_weight
        total = item_MD.new_zeros(())
        if not (user or scenario or query):
            return total
        log_share_M = torch.log((count_M + 1.0) / (count_M + 1.0).sum())
        step = (self.towers, self.inputs, self.data, events_T, item_MD, place_T, log_share_M)
        if user:
            total = total + user * user_text_loss(*step, self._rng)
        if scenario:
            total = total + scenario * scenario_text_loss(*step)
        if query:
            total = total + query * query_text_loss(*step, self._rng)
        return total

    @torch.no_grad()
    def _look_up(self) -> None:
        """Item vectors [N, D] as they stand now, for `_hard` to search in."""
        self.towers.eval()
        self._near_ND = self.item_vectors()
        self.towers.train()

    def _hard(self, target_T: Tensor) -> Tensor | None:
        """Items [H] that are hardest to tell from some of the targets: the nearest in the index of the epoch's start."""
        if not self.config.hard_negatives:
            return None
        chosen_H = target_T[torch.randint(0, len(target_T), (self.config.hard_negatives,), generator=self.generator)]
        likeness_HN = self._near_ND[chosen_H] @ self._near_ND.T
        nearest_H: Tensor = likeness_HN.scatter_(1, chosen_H[:, None], -math.inf).argmax(1)
        return nearest_H

    def _strangers(self, events_T: Int64Array, num_windows: int) -> Int64Array:
        """Places [C] of some targets to be predicted once more, from the profile alone: a few for each window with a profile."""
        drawn = self._rng.permutation(len(events_T))[: STRANGERS_PER_WINDOW * num_windows]
        chosen: Int64Array = drawn[self._has_profile_U[self.data.user_E[events_T[drawn]]]]
        return chosen

    def _by_profile(self, events_C: Int64Array) -> Tensor:
        """User vectors [C, D] of the users of these events as if nothing were known of what they did."""
        data, C, D = self.data, len(events_C), self.towers.config.dim
        scenario_C = torch.from_numpy(self._scenarios(events_C[:, None])[:, 0])
        text_CT = torch.from_numpy(self.inputs.scenario_text_ST)[scenario_C]
        out: Tensor = self.towers.user(
            torch.zeros(C, 0, D),
            torch.zeros(C, 0, dtype=torch.int64),
            torch.zeros(C, 0),
            torch.zeros(C, 0, dtype=torch.bool),
            torch.zeros(C, 1),
            torch.from_numpy(self.inputs.profile_UT[data.user_E[events_C]]),
            self.towers.user.scenario(scenario_C, text_CT)[:, None],
        )
        return out[:, 0]

    def item_vectors(self, rows: Tensor | None = None) -> Tensor:
        """[N, D] of the whole catalogue, or of these rows."""
        features = self.inputs.features
        columns = (
            self._id_N, torch.from_numpy(self.inputs.text_NT), self._count_N, torch.from_numpy(features.category_N),
            torch.from_numpy(features.department_N), torch.from_numpy(features.brand_N), torch.from_numpy(features.price_N),
        )  # fmt: skip
        out: Tensor = self.towers.item(*(columns if rows is None else (column[rows] for column in columns)))
        return out

    def _users(self, events_BL: Int64Array, item_ND: Tensor, history_BL: Tensor | None) -> Tensor:
        """User vectors [B, L, D]: row p stands before event p of the window. history_BL: places of the events in item_ND."""
        data, events = self.data, np.maximum(events_BL, 0)
        if history_BL is None:
            history_BL = torch.from_numpy(data.item_E[events].astype(np.int64))
        at_BL = data.at_E[events]
        gap_BL = np.zeros(events.shape, np.float32)
        gap_BL[:, 1:] = np.maximum(at_BL[:, 1:] - at_BL[:, :-1], 0.0) / 3600.0
        scenario_SD = self.towers.user.scenario(
            torch.arange(len(data.scenarios)), torch.from_numpy(self.inputs.scenario_text_ST)
        )
        out: Tensor = self.towers.user(
            item_ND[history_BL[:, :-1]],
            torch.from_numpy(data.kind_E[events[:, :-1]]),
            torch.from_numpy(gap_BL[:, :-1]),
            torch.from_numpy(events_BL[:, :-1] != NOTHING),
            torch.from_numpy(gap_BL),
            torch.from_numpy(self.inputs.profile_UT[data.user_E[events[:, 0]]]),
            scenario_SD[torch.from_numpy(self._scenarios(events))],
        )
        return out

    def _scenarios(self, events_BL: Int64Array) -> Int64Array:
        """Scenario rows [B, L] the windows are read in; some are read as the whole shop, so that this is a trained state too."""
        left_out_B1 = self._rng.random((len(events_BL), 1)) < self.towers.config.scenario_left_out
        return np.where(left_out_B1, 0, self.data.scenario_E[events_BL]).astype(np.int64)

    def _target_weights(self) -> Float32Array:
        """Event weight, times an inverse-root boost of small scenarios (capped); 0 where there is nothing to predict."""
        data = self.data
        counts_S = np.maximum(np.bincount(data.scenario_E, minlength=len(data.scenarios)), 1)
        boost_S = np.minimum(np.sqrt(counts_S.max() / counts_S), MAX_SCENARIO_BOOST)
        weight_E = data.weight_E * boost_S[data.scenario_E]
        if not self.config.predict_repeats:
            weight_E = np.where(data.is_repeat_E, 0.0, weight_E)
        return np.where(data.is_target_E, weight_E, 0.0).astype(np.float32)
