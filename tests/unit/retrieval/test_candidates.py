"""What a list of candidates says of its sources, whether they were made as one table or one by one."""

from dataclasses import replace

import numpy as np
import pytest

from app.retrieval.candidates import Candidates

RANKS = np.asarray([[1, 0, 2], [0, 0, 1]], np.int32)
SCORES = np.asarray([[0.5, np.nan, 0.25], [np.nan, np.nan, 7.0]], np.float32)
BY_NAME = Candidates(
    np.asarray([4, 2, 9]), np.asarray([0.9, 0.5, 0.1], np.float32), dict(zip(("item_cf", "new"), RANKS, strict=True)),
    dict(zip(("item_cf", "new"), SCORES, strict=True)), dict(zip(("item_cf", "new"), SCORES, strict=True)),
)  # fmt: skip
AS_TABLE = replace(BY_NAME, table=(RANKS, SCORES))


@pytest.mark.parametrize("found", [BY_NAME, AS_TABLE])
def test_sources_of_several_are_those_of_each(found):
    assert found.sources_at(np.asarray([2, 0, 1])) == [("item_cf", "new"), ("item_cf",), ()]
    assert [tuple(found.sources_of(place)) for place in (2, 0, 1)] == found.sources_at(np.asarray([2, 0, 1]))
    for stacked, made in zip(found.stacked(), (RANKS, SCORES), strict=True):
        np.testing.assert_array_equal(stacked, made)


def test_a_new_order_has_a_table_of_its_own():
    turned = AS_TABLE.rescored(np.asarray([0.1, 1.0, 1.0], np.float32))
    assert turned.rows_C.tolist() == [2, 9, 4]
    assert turned.sources_at(np.asarray([1])) == [("item_cf", "new")]
    assert AS_TABLE.head(1).sources_at(np.asarray([0])) == [("item_cf",)]


def test_nothing_was_brought_by_nobody():
    nothing = Candidates(np.asarray([3]), np.asarray([0.5], np.float32), {})
    assert nothing.sources_at(np.asarray([0])) == [()]
