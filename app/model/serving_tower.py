"""The user tower for one position of a few users, without torch: on matrices this small, calling torch takes longer than they do.

The same function as `UserTower.forward(…, at_B)` for a tower of at most one block; checked against it by the tests. Because only one
position asks, the keys and values of the others are never made: the query goes through the key matrix instead, and the attended mean
through the value matrix. Shapes: B users, L history, P positions, D dim, H heads, T text, W decays.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from app.features.users import UserBatch
from app.model.reading import Norm, attend, gelu, normalise, read
from app.model.scenario_adapter import ScenarioAdapter
from app.model.user_tower import Block, UserTower
from app.types import Float32Array


class ServingTower:
    """Reads the tower's parameters in place: it follows what training does to them."""

    def __init__(self, tower: UserTower) -> None:
        self._config = tower.config
        self._start_1D, self._kind, self._gap = (
            _array(tower.start)[None],
            _array(tower.kind.weight),
            _array(tower.gap.weight),
        )
        self._recency = _array(tower.recency.weight)
        self._profile, self._mix, self._norm = _layers(tower.profile), _layers(tower.mix), _norm(tower.norm)
        self._decay_W, self._share_W = np.asarray(tower.config.decays, np.float64), _array(tower.mean_share)
        self._block = _BlockArrays(tower.blocks[0]) if len(tower.blocks) else None  # type: ignore[arg-type]
        self._adapter = None if tower.adapter is None else _AdapterArrays(tower.adapter)

    @staticmethod
    def can(tower: UserTower) -> bool:
        return len(tower.blocks) <= 1

    @np.errstate(all="ignore")  # a broken vector costs its users this source, not the log its readability
    def vectors(self, users: UserBatch, item_BLD: Float32Array, scenario_BD: Float32Array) -> Float32Array:
        """Unit rows float32 [B, D]. item_BLD: vectors of `users.history_BL`; scenario_BD: of the scenario asked for."""
        B, _, D = item_BLD.shape
        length, W = self._config.length, len(self._decay_W)
        longest = int((users.history_BL >= 0).sum(1).max(initial=0))
        last_BD, normed_BPD = np.empty((B, D), np.float32), np.zeros((B, min(longest, length) + 1, D), np.float32)
        mean_BWD, bucket_B = np.zeros((B, W, D), np.float32), np.empty(B, np.int64)
        history_BL, kinds_BL = (np.ascontiguousarray(a, np.int32) for a in (users.history_BL, users.kinds_BL))
        ages_BL, item_BLD = np.ascontiguousarray(users.ages_BL, np.float64), np.ascontiguousarray(item_BLD, np.float32)
        events = (history_BL, kinds_BL, ages_BL, item_BLD)
        norm = self._norm if self._block is None else self._block.norm1
        read(
            events, (self._start_1D, self._kind, self._gap), norm, self._decay_W, length, (last_BD, normed_BPD, mean_BWD, bucket_B)
        )  # fmt: skip
        x_BD = (
            np.repeat(self._start_1D, B, 0)
            if self._block is None
            else self._block.last(last_BD, normed_BPD, users, length)
        )
        profile_BD = self._of_profiles(users.profile_BT)
        parts = (x_BD, mean_BWD.reshape(B, W * D), profile_BD, scenario_BD, self._recency[bucket_B])
        user_BD = _forward(self._mix, np.concatenate(parts, 1)) + x_BD + np.einsum("w,bwd->bd", self._share_W, mean_BWD)
        if self._adapter is not None:
            user_BD = self._adapter.adapted(user_BD, scenario_BD)
        normed_BD = _layer_norm(self._norm, user_BD)
        unit_BD: Float32Array = normed_BD / np.maximum(
            np.linalg.norm(normed_BD, axis=1, keepdims=True), np.float32(1e-12)
        )
        return unit_BD

    def _of_profiles(self, profile_BT: Float32Array) -> Float32Array:
        """[B, D], zero for who has none."""
        out_BD = np.zeros((len(profile_BT), self._config.dim), np.float32)
        described = np.flatnonzero(np.abs(profile_BT).sum(1) > 0)
        if len(described):
            out_BD[described] = _forward(self._profile, profile_BT[described])
        return out_BD


class _AdapterArrays:
    def __init__(self, adapter: ScenarioAdapter) -> None:
        self._gate = _layers(adapter.gate)
        self._code_RD, self._down_RD, self._up_DR = (
            _array(part.weight) for part in (adapter.code, adapter.down, adapter.up)
        )

    def adapted(self, user_BD: Float32Array, scenario_BD: Float32Array) -> Float32Array:
        given_B1 = np.abs(scenario_BD).sum(1, keepdims=True) > 0
        if not given_B1.any():
            return user_BD
        gate_BD = given_B1 * _forward(self._gate, np.concatenate([scenario_BD, user_BD], 1))
        residual_BD = ((scenario_BD @ self._code_RD.T) * (user_BD @ self._down_RD.T)) @ self._up_DR.T
        adapted_BD: Float32Array = (1.0 + np.tanh(gate_BD / 2)) * user_BD + residual_BD  # twice the sigmoid
        return adapted_BD


class _BlockArrays:
    def __init__(self, block: Block) -> None:
        self.norm1, self._norm2 = _norm(block.norm1), _norm(block.norm2)
        D, H = block.out.in_features, block.heads
        qkv, bias = _array(block.qkv.weight), _array(block.qkv.bias)
        self._query, self._query_bias = qkv[:D], bias[:D]
        self._key_HXD, self._value_HXD = qkv[D : 2 * D].reshape(H, D // H, D), qkv[2 * D :].reshape(H, D // H, D)
        self._value_bias = bias[2 * D :]
        self._out, self._feed, self._distance = _linear(block.out), _layers(block.feed), _array(block.distance)

    def last(self, last_BD: Float32Array, normed_BPD: Float32Array, users: UserBatch, length: int) -> Float32Array:
        """The block's output at the last position of each user, [B, D]. The bias of the keys moves all logits alike: it says nothing."""
        H, X, D = self._key_HXD.shape
        B = len(last_BD)
        at_B = np.minimum((users.history_BL >= 0).sum(1), length)
        query_BHX = (normed_BPD[np.arange(B), at_B] @ self._query.T + self._query_bias).reshape(B, H, X)
        asked_HBD = query_BHX.transpose(1, 0, 2) @ self._key_HXD * np.float32(X**-0.5)
        share_BHP = np.ascontiguousarray((normed_BPD @ asked_HBD.transpose(1, 2, 0)).transpose(0, 2, 1))
        attend(share_BHP, np.ascontiguousarray(users.history_BL, np.int32), self._distance, length)
        attended_BHD = share_BHP @ normed_BPD
        value_HBX = attended_BHD.transpose(1, 0, 2) @ self._value_HXD.transpose(0, 2, 1)
        value_BD = value_HBX.transpose(1, 0, 2).reshape(B, D) + self._value_bias
        x_BD = np.asarray(last_BD + value_BD @ self._out[0].T + self._out[1], np.float32)
        out_BD: Float32Array = x_BD + _forward(self._feed, _layer_norm(self._norm2, x_BD))
        return out_BD


Linear = tuple[Float32Array, Float32Array]  # weight [out, in], bias


def _array(tensor: Tensor) -> Float32Array:
    array: Float32Array = tensor.detach().numpy()
    return array


def _linear(layer: nn.Linear) -> Linear:
    return _array(layer.weight), _array(layer.bias)


def _layers(layers: nn.Sequential) -> tuple[Linear, Linear]:
    """The two linear layers of a feed-forward part with GELU between."""
    first, second = (_linear(layer) for layer in layers if isinstance(layer, nn.Linear))
    return first, second


def _norm(layer: nn.LayerNorm) -> Norm:
    return _array(layer.weight), _array(layer.bias)


def _forward(layers: tuple[Linear, Linear], x_BD: Float32Array) -> Float32Array:
    (weight, bias), (last_weight, last_bias) = layers
    hidden = x_BD @ weight.T + bias
    gelu(hidden)
    return np.asarray(hidden @ last_weight.T + last_bias, np.float32)


def _layer_norm(norm: Norm, x_BD: Float32Array) -> Float32Array:
    x_BD = np.ascontiguousarray(x_BD, np.float32)
    out_BD = np.empty_like(x_BD)
    normalise(x_BD, norm, out_BD)
    return out_BD
