import pytest

from app.catalogue.item import Item
from app.catalogue.records import frame_of
from app.pauses import REST, resting
from app.retrieval.columns import ROWS_AT_ONCE, Columns


def test_a_rest_is_as_long_as_the_work_before_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rests = iter([1.0, 1.5, 1.5, 1.75, 1.75]), list[float]()
    monkeypatch.setattr("app.pauses.time.thread_time", lambda: next(clock))
    monkeypatch.setattr("app.pauses.time.sleep", rests.append)
    rest = resting()
    rest()
    rest()
    assert rests == [REST * 0.5, REST * 0.25]


def test_a_large_catalogue_is_read_in_pieces() -> None:
    items = frame_of([Item(f"i{n}", attributes={"colour": "red", "size": n}) for n in range(3 * ROWS_AT_ONCE)])
    num_pauses = 0

    def pause() -> None:
        nonlocal num_pauses
        num_pauses += 1

    paused, whole = Columns.from_frame(items, pause), Columns.from_frame(items)
    assert num_pauses == 3
    for name, column in whole.attributes.items():
        assert column.values.equals(paused.attributes[name].values)
        assert (column.rows_A == paused.attributes[name].rows_A).all()
