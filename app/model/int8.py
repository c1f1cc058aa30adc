"""Products of matrices of whole numbers, as processors have instructions for. Shapes: N rows, D dim, W columns."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from app.types import Int32Array

Int8Array = NDArray[np.int8]
WIDTH = 16  # columns: for two a product takes as long as for these


def products(left_ND: Int8Array, right_DW: Int8Array) -> Int32Array:
    """Exact [N, W] while right is between -63 and 63: without VNNI a processor adds up two products in 16 bits."""
    sums_NW: Int32Array = torch._int_mm(torch.from_numpy(left_ND), torch.from_numpy(right_DW)).numpy()
    return sums_NW
