import os
import sys
import threading

import pytest

from app.catalogue.item import Item
from app.catalogue.records import frame_of
from app.pauses import NICER, REST, beside, resting
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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
async def test_work_beside_requests_stands_back_and_nobody_else() -> None:
    def priority() -> tuple[int, int]:
        thread = threading.get_native_id()
        return thread, os.getpriority(os.PRIO_PROCESS, thread)

    before = priority()
    (first, stood_back), (second, also) = await beside(priority), await beside(priority)
    assert stood_back == also == before[1] + NICER
    assert priority() == before
    assert len({first, second, before[0]}) > 1, "a thread of its own"


async def test_what_goes_wrong_beside_requests_is_told() -> None:
    def fail(what: str) -> None:
        raise ValueError(what)

    with pytest.raises(ValueError, match="the model"):
        await beside(fail, "the model")
