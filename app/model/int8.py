"""Products of matrices of whole numbers, as processors have instructions for. Shapes: N rows, D dim, W columns."""

from __future__ import annotations

import numpy as np
import torch
from numba import types
from numpy.typing import NDArray

from app.compiled import compiled, reads, writes
from app.processor import INT8
from app.types import Int16Array, Int32Array

Int8Array = NDArray[np.int8]
WIDTH = 16  # columns: for two a product takes as long as for these


def products(left_ND: Int8Array, right_DW: Int8Array) -> Int32Array:
    """Exact [N, W] while right is between -63 and 63: without VNNI a processor adds up two products in 16 bits."""
    if right_DW.shape[1] == 1 and not INT8:
        sums_N1 = np.empty((len(left_ND), 1), np.int32)
        _product(left_ND, right_DW[:, 0].astype(np.int16), sums_N1[:, 0])
        return sums_N1
    sums_NW: Int32Array = torch._int_mm(torch.from_numpy(left_ND), torch.from_numpy(right_DW)).numpy()
    return sums_NW


@compiled(types.void(reads("i1", 2), reads("i2"), writes("i4")))
def _product(left_ND: Int8Array, right_D: Int16Array, sums_N: Int32Array) -> None:
    """By the instruction that multiplies numbers of 16 bits and adds up pairs, which every x86 processor has; torch's product is slower than float32 without VNNI."""
    for n in range(len(left_ND)):
        left_D, total = left_ND[n], np.int32(0)
        for d in range(len(right_D)):
            total += np.int32(left_D[d]) * np.int32(right_D[d])
        sums_N[n] = total
