"""Products of whole numbers are exact, by whichever instructions."""

from __future__ import annotations

import numpy as np
import pytest

from app.model import int8


@pytest.mark.parametrize("has_vnni", [True, False])
@pytest.mark.parametrize("dim", [1, 5, 64, 100])
@pytest.mark.parametrize("width", [1, int8.WIDTH])
def test_products_are_exact(monkeypatch: pytest.MonkeyPatch, has_vnni: bool, dim: int, width: int) -> None:
    monkeypatch.setattr(int8, "INT8", has_vnni)
    rng = np.random.default_rng(0)
    left_ND = rng.integers(-127, 128, (301, dim), np.int8)
    right_DW = rng.integers(-63, 64, (dim, width), np.int8)
    left_ND[0], right_DW[:, 0] = 127, -63
    expected_NW = left_ND.astype(np.int64) @ right_DW.astype(np.int64)
    np.testing.assert_array_equal(int8.products(left_ND, right_DW), expected_NW)
