"""SASRec with full softmax, stopped early on the validation users, then trained anew on everything for as many epochs.

Shapes: B sequences, L length, T targets of a batch, N items, D dim.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.learning.dataset import Interactions
from app.learning.evaluation.peers.peer import Params, Scorer, Trials
from app.learning.evaluation.peers.sasrec_model import SasRec
from app.learning.loss import full_softmax
from app.learning.splits import Repeats
from app.types import BoolArray, Float32Array, Int64Array, Progress

MAX_LENGTH, LENGTH_QUANTILE = 200, 0.95
EVENTS_PER_BATCH = 2_048  # a batch of 128 users, as published, takes too few steps a pass where histories are long
LEARNING_RATE, BETAS = 1e-3, (0.9, 0.98)
MAX_EPOCHS, PATIENCE = 200, 5
LONG_HISTORY = 50  # mean events per user from which the lighter dropout is tried first
MAX_LOGIT = 80.0  # exp overflows at 88


class SasRecPeer:
    name = "sasrec"
    is_stochastic = True
    is_personal = True
    start: ClassVar[Params] = {"dim": 64, "blocks": 2, "heads": 2, "length": 50, "dropout": 0.2, "epochs": 20}

    def search(self, trials: Trials) -> None:
        """Dropout .2 and .5, the likelier one first; of each the best epoch counts as one configuration tried."""
        sizes_U = np.diff(trials.train.starts_U1)
        sizes_U = sizes_U[sizes_U > 0]
        length = int(np.clip(np.quantile(sizes_U, LENGTH_QUANTILE), 10, MAX_LENGTH))
        likely = 0.2 if sizes_U.mean() >= LONG_HISTORY else 0.5
        for dropout in (likely, 0.7 - likely):
            if trials.has_time():
                self._until_it_stops(trials, {**self.start, "length": length, "dropout": round(dropout, 1)})

    def _until_it_stops(self, trials: Trials, params: Params) -> None:
        best, best_epoch = -1.0, 0
        training = Training(trials.train, params, trials.repeats, trials.seed)
        for epoch in range(1, MAX_EPOCHS + 1):
            loss = training.epoch(trials.progress)
            found = trials.score(training.scorer())
            trials.progress("peers", 0.0, f"sasrec: epoch {epoch}, loss {loss:.3f}, validation NDCG@10 {found:.4f}")
            if found > best:
                best, best_epoch = found, epoch
            if epoch - best_epoch >= PATIENCE or not trials.has_time():
                break
        trials.note({**params, "epochs": best_epoch}, best)

    def fit(self, train: Interactions, params: Params, repeats: Repeats, seed: int, progress: Progress) -> Scorer:
        training = Training(train, params, repeats, seed)
        epochs = int(params["epochs"] or 0)
        for epoch in range(epochs):
            training.epoch(progress)
            progress("peers", (epoch + 1) / epochs)
        return training.scorer()


class Training:
    """One network on its way. A seed makes it repeatable; torch's own random state is left as it was."""

    def __init__(self, train: Interactions, params: Params, repeats: Repeats, seed: int) -> None:
        self.train, self.length = train, int(params["length"] or 0)
        wanted_E = train.is_target_E & ~train.is_repeat_E if repeats == "exclude" else train.is_target_E
        self._wanted_E: BoolArray = np.asarray(wanted_E)
        self._rng = np.random.default_rng(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net = SasRec(
                len(train.item_ids), self.length, int(params["dim"] or 0), int(params["blocks"] or 0),
                int(params["heads"] or 0), float(params["dropout"] or 0),
            )  # fmt: skip
            self._random_state = torch.get_rng_state()
        self._optimiser = torch.optim.Adam(self.net.parameters(), lr=LEARNING_RATE, betas=BETAS)

    def epoch(self, progress: Progress) -> float:
        """One pass over everybody's newest length + 1 events. Returns the mean loss."""
        self.net.train()
        losses = []
        with torch.random.fork_rng():
            torch.set_rng_state(self._random_state)
            for users in self._batches():
                loss = self._loss(users)
                if loss is not None:
                    self._optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    self._optimiser.step()
                    losses.append(loss.item())
                    progress("peers", 0.0)
            self._random_state = torch.get_rng_state()
        return float(np.mean(losses)) if losses else 0.0

    def scorer(self) -> Scorer:
        """Of the network as it stands now: it must not be trained on while the scorer is in use."""
        self.net.eval()

        def score(users: Int64Array) -> Float32Array:
            events_BL, size_B = self._newest(users, self.length)
            with torch.no_grad():
                out_BLD = self.net(self._items(events_BL), torch.from_numpy(np.maximum(size_B, 1)))
                last_BD = out_BLD[torch.arange(len(users)), torch.from_numpy(np.maximum(size_B - 1, 0))]
                scores_BN: Float32Array = (last_BD @ self.net.item.weight.T).numpy()
            return scores_BN

        return score

    def _batches(self) -> Iterator[Int64Array]:
        """Users of like history length together, about EVENTS_PER_BATCH events of theirs, the batches in random order."""
        sizes_U = np.minimum(np.diff(self.train.starts_U1), self.length + 1)
        users = np.flatnonzero(sizes_U >= 2)
        users = users[np.argsort(sizes_U[users] + self._rng.random(len(users)))]
        number = np.cumsum(sizes_U[users]) // EVENTS_PER_BATCH
        batches = np.split(users, np.flatnonzero(np.diff(number)) + 1)
        for place in self._rng.permutation(len(batches)):
            yield batches[place]

    def _loss(self, users: Int64Array) -> Tensor | None:
        events_BL, size_B = self._newest(users, self.length + 1)
        columns = np.arange(1, events_BL.shape[1])
        target_BL = torch.from_numpy((columns < size_B[:, None]) & self._wanted_E[events_BL[:, 1:]])
        if not bool(target_BL.any()):
            return None
        query_TD = self.net(self._items(events_BL[:, :-1]), torch.from_numpy(size_B - 1))[target_BL]
        return softmax_loss(query_TD, self.net.item.weight, self._items(events_BL[:, 1:])[target_BL])

    def _newest(self, users: Int64Array, most: int) -> tuple[Int64Array, Int64Array]:
        """Event numbers [B, L] of the newest events, oldest first, and how many of them count [B]."""
        ends_B = self.train.starts_U1[users + 1]
        size_B = np.minimum(ends_B - self.train.starts_U1[users], most)
        events_BL = (ends_B - size_B)[:, None] + np.arange(max(1, int(size_B.max(initial=0))))
        return np.minimum(events_BL, len(self.train) - 1), size_B

    def _items(self, events_BL: Int64Array) -> Tensor:
        return torch.from_numpy(self.train.item_E[events_BL].astype(np.int64))


def softmax_loss(query_TD: Tensor, item_ND: Tensor, target_T: Tensor) -> Tensor:
    """Mean of -log softmax(query . item) over the catalogue; the fast way as long as no logit can overflow."""
    largest = query_TD.detach().norm(dim=1).max() * item_ND.detach().norm(dim=1).max()
    if float(largest) > MAX_LOGIT:
        return F.cross_entropy(query_TD @ item_ND.T, target_T)
    return full_softmax(query_TD, item_ND, target_T, torch.ones(len(target_T)), torch.ones(()))
