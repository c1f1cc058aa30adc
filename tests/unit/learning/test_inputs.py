import numpy as np

from app.encoding.encoder import Encoder
from app.learning.inputs import TextRows


def test_rows_that_repeat_are_held_once() -> None:
    texts = ["I fish", "", "I sew", "I fish", "", ""]
    encoder = Encoder()
    rows = TextRows.encoded(iter(texts), encoder)
    whole = encoder.encode(texts)
    assert len(rows) == 6
    assert len(rows.different_DT) == 3
    assert np.array_equal(rows[np.arange(6)], whole)
    assert np.array_equal(rows[[3, 1]], whole[[3, 1]])
    assert rows.says_something_R.tolist() == [True, False, True, True, False, False]
    assert len(TextRows.encoded([], encoder)) == 0
