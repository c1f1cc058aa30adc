"""What the user tower reads of a history, compiled, for `serving_tower`. Shapes: B users, L history, P positions, D dim, W decays."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, several, writes
from app.types import Float32Array, Int32Array

Events = tuple[Int32Array, Int32Array, NDArray[np.float64], Float32Array]  # history_BL, kinds_BL, ages_BL and item_BLD
Tables = tuple[Float32Array, Float32Array, Float32Array]  # start_1D, kind_KD and gap_GD
Norm = tuple[Float32Array, Float32Array]  # weight and bias of a LayerNorm
EPSILON = 1e-5  # of torch's LayerNorm


@compiled(types.float32(reads("f4")))
def _mean(values_D: Float32Array) -> float:
    """Four sums at a time: one after the other, each would wait for the last."""
    D = len(values_D)
    a, b, c, d = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for at in range(0, D - 3, 4):
        a += values_D[at]
        b += values_D[at + 1]
        c += values_D[at + 2]
        d += values_D[at + 3]
    for at in range(D - D % 4, D):
        a += values_D[at]
    mean: float = ((a + b) + (c + d)) / np.float32(D)  # type: ignore[assignment]
    return mean


@compiled(types.void(reads("f4"), several(reads("f4"), reads("f4")), writes("f4"), writes("f4")))
def _normalise(values_D: Float32Array, norm: Norm, work_D: Float32Array, out_D: Float32Array) -> None:
    """LayerNorm."""
    weight_D, bias_D = norm
    mean = _mean(values_D)
    for d in range(len(values_D)):
        work_D[d] = (values_D[d] - mean) * (values_D[d] - mean)
    scale = np.float32(1.0) / np.sqrt(_mean(work_D) + np.float32(EPSILON))
    for d in range(len(values_D)):
        out_D[d] = (values_D[d] - mean) * scale * weight_D[d] + bias_D[d]


@compiled(types.void(reads("f4", 2), several(reads("f4"), reads("f4")), writes("f4", 2)))
def normalise(values_BD: Float32Array, norm: Norm, out_BD: Float32Array) -> None:
    """LayerNorm of each line."""
    work_D = np.empty(values_BD.shape[1], np.float32)
    for b in range(len(values_BD)):
        _normalise(values_BD[b], norm, work_D, out_BD[b])


@compiled(types.int64(types.float32, types.int64))
def gap_bucket(hours: float, num_buckets: int) -> int:
    """As in `user_tower`."""
    minutes = np.float32(hours) * np.float32(60.0) if hours > 0 else np.float32(0.0)
    return min(int(np.log2(np.float32(1.0) + minutes + np.float32(1e-3))), num_buckets - 1)


@compiled(
    types.void(
        several(reads("i4", 2), reads("i4", 2), reads("f8", 2), reads("f4", 3)),
        several(reads("f4", 2), reads("f4", 2), reads("f4", 2)),
        several(reads("f4"), reads("f4")), reads("f8"), types.intp,
        several(writes("f4", 2), writes("f4", 3), writes("f4", 3), writes("i8")),
    )
)  # fmt: skip
def read(
    events: Events, tables: Tables, norm: Norm, decay_W: NDArray[np.float64], length: int,
    out: tuple[Float32Array, Float32Array, Float32Array, NDArray[np.int64]],
) -> None:  # fmt: skip
    """The newest `length` events of each user, embedded.

    out: last_BD, the last position as it is; normed_BPD, every position normalised, the start token first, zero before and left so
    behind the history; mean_BWD, decayed means of the items, zero before; bucket_B, of the time since the last event.
    """
    history_BL, kinds_BL, ages_BL, item_BLD = events
    start_1D, kind_KD, gap_GD = tables
    last_BD, normed_BPD, mean_BWD, bucket_B = out
    B, L, D = item_BLD.shape
    work_D = np.empty(D, np.float32)
    for b in range(B):
        there = 0
        for at in range(L):
            there += history_BL[b, at] >= 0
        first = max(there - length, 0)
        last_BD[b] = start_1D[0]
        _normalise(last_BD[b], norm, work_D, normed_BPD[b, 0])
        for at in range(first, there):
            hours = ages_BL[b, at - 1] - ages_BL[b, at] if at > first else 0.0
            gap = gap_bucket(hours, len(gap_GD))
            kind = kinds_BL[b, at]
            for d in range(D):
                last_BD[b, d] = item_BLD[b, at, d] + kind_KD[kind, d] + gap_GD[gap, d]
            _normalise(last_BD[b], norm, work_D, normed_BPD[b, at - first + 1])
        for w in range(len(decay_W)):
            total = 0.0
            for at in range(there - 1, first - 1, -1):
                weight = decay_W[w] ** (there - 1 - at)
                total += weight
                for d in range(D):
                    mean_BWD[b, w, d] += np.float32(weight) * item_BLD[b, at, d]
            mean_BWD[b, w] *= np.float32(1.0 / max(total, 1e-6))
        newest = ages_BL[b, there - 1] if there else 0.0
        bucket_B[b] = gap_bucket(newest, len(gap_GD))


@compiled(types.void(writes("f4", 3), reads("i4", 2), reads("f4", 2), types.intp))
def attend(logits_BHP: Float32Array, history_BL: Int32Array, distance_HX: Float32Array, length: int) -> None:
    """Logits of the last position to shares of attention, in place: a bias by distance, and nothing for what is behind the history."""
    B, H, _ = logits_BHP.shape
    for b in range(B):
        there = 0
        for at in range(history_BL.shape[1]):
            there += history_BL[b, at] >= 0
        num = min(there, length) + 1
        for h in range(H):
            logits_P = logits_BHP[b, h]
            highest = np.float32(-np.inf)
            for p in range(num):
                logits_P[p] += distance_HX[h, min(num - 1 - p, distance_HX.shape[1] - 1)]
                highest = max(highest, logits_P[p])
            total = np.float32(0.0)
            for p in range(num):
                logits_P[p] = np.exp(logits_P[p] - highest)
                total += logits_P[p]
            for p in range(num):
                logits_P[p] /= total
            logits_P[num:] = 0.0


@compiled(types.void(writes("f4", 2)))
def gelu(values_BD: Float32Array) -> None:
    """In place, exactly."""
    for b in range(len(values_BD)):
        for d in range(values_BD.shape[1]):
            value = values_BD[b, d]
            values_BD[b, d] = (
                np.float32(0.5) * value * (np.float32(1.0) + math.erf(value * np.float32(0.7071067811865476)))
            )
