"""What is unpacked serves those who come again, says what unpacking anew would say, and does not stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from app.catalogue.item import User
from app.errors import Unavailable
from app.feedback.seen import MAX_SEEN
from app.feedback.state import MAX_HISTORY, HistoryEntry, Part
from app.privacy.encryption import PLAIN, TextCipher
from app.stores.redis import unpacked
from app.stores.redis.changes import BETWEEN_ITEMS
from app.stores.redis.packing import pack, unpack
from app.stores.redis.part import MAX_DISMISSED
from app.stores.redis.subject import Subject, dump_entry
from app.stores.redis.unpacked import LIFE_SECONDS, MAX_SUBJECTS, UnpackedStates

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ANNA = Subject("u", "anna")
LIFE = timedelta(seconds=LIFE_SECONDS)


class Memory:
    """Of one process, with a clock that tests move."""

    def __init__(self) -> None:
        self.now = NOW
        self.states = UnpackedStates(PLAIN, lambda: self.now)

    def read(self, state: bytes | None, subject: Subject = ANNA) -> Part | None:
        found = self.states.read(subject, state, self.now, self.states.drops)
        return found and found.part


@pytest.fixture
async def memory() -> AsyncIterator[Memory]:
    memory = Memory()
    yield memory
    memory.states.close()


def act(number: int, kind: str = "click", item_id: str = "tea", minute: float = 0) -> HistoryEntry:
    return HistoryEntry(item_id, kind, NOW.timestamp() + minute * 60 - 86_400, f"e{number:04}")


def done(*entries: HistoryEntry) -> bytes:
    return b"".join(b"," + dump_entry(entry).encode() for entry in entries)


def shown(*item_ids: str, seconds_ago: float = 60) -> bytes:
    return b"," + orjson.dumps((round(NOW.timestamp() - seconds_ago), BETWEEN_ITEMS.join(item_ids)))


def packed(*entries: HistoryEntry, text: str = "likes tea", **figures: dict[str, float]) -> bytes:
    values = {"purchased": {"milk": 1.0}, "seen": {"milk": 2.0}, "dismissed": {}} | figures
    return pack(Part(entries, profile=User("anna", text), **values), NOW, PLAIN)


async def test_the_same_bytes_are_unpacked_once(memory: Memory) -> None:
    state = packed(act(1)) + shown("tea")
    first = memory.read(state)
    assert first == unpack(state, NOW, PLAIN).part
    memory.now += LIFE - timedelta(milliseconds=1)
    assert memory.read(bytes(bytearray(state))) is first


async def test_of_longer_bytes_the_rest_is_folded_in(memory: Memory) -> None:
    state = packed(act(1))
    before = memory.read(state)
    changes = [shown("tea", "milk"), done(act(2, "purchase", minute=1)), shown("rod"), done(act(3, "dislike", "rod"))]
    for change in changes:
        memory.now += timedelta(seconds=10)
        state += change
        assert memory.read(state) == unpack(state, NOW, PLAIN).part
    assert before == unpack(packed(act(1)), NOW, PLAIN).part, "who was given it before still reads it"
    memory.now += LIFE
    assert memory.read(state) == unpack(state, memory.now, PLAIN).part


async def test_limits_hold_however_many_changes_come_at_once(memory: Memory) -> None:
    """What a limit leaves out for now counts when more of it comes."""
    state = packed(
        *(act(n) for n in range(MAX_HISTORY - 1)), act(500, "like", "pan", -90),
        seen={f"i{n}": 1.0 + n for n in range(MAX_SEEN)}, dismissed={f"d{n}": float(n) for n in range(MAX_DISMISSED)},
    )  # fmt: skip
    memory.read(state)
    for n in range(12):
        state += done(act(600 + n, minute=n), act(700 + n, "dislike", f"x{n}", n)) + shown("new", "newer", f"i{n}")
        state += done(act(800 + n, "dislike", "pan", -100))
        assert memory.read(state) == unpack(state, NOW, PLAIN).part
    found = memory.read(state)
    assert found is not None
    assert (len(found.history), len(found.seen), len(found.dismissed)) == (MAX_HISTORY, MAX_SEEN, MAX_DISMISSED)
    assert "new" in found.seen
    assert "pan" not in found.dismissed


async def test_a_state_that_was_written_anew_is_read_anew(memory: Memory) -> None:
    memory.read(packed(act(1)) + shown("tea"))
    for state in (packed(act(1), text="likes milk"), packed(act(1)), packed(act(1), act(2, minute=1)) + shown("tea")):
        assert memory.read(state) == unpack(state, NOW, PLAIN).part
    assert memory.read(None) is None
    assert len(memory.states) == 0


@pytest.mark.parametrize("later", [LIFE, timedelta(days=400), -timedelta(seconds=1)])
async def test_what_is_old_is_unpacked_anew_also_where_the_clock_was_set_back(memory: Memory, later: timedelta) -> None:
    state = packed(act(1))
    first = memory.read(state)
    memory.now += later
    again = memory.read(state)
    assert again is not first
    assert again == unpack(state, memory.now, PLAIN).part


async def test_changes_do_not_prolong_its_life(memory: Memory) -> None:
    state = packed(act(1))
    memory.read(state)
    memory.now += LIFE / 2
    memory.read(state + shown("tea"))
    memory.now += LIFE / 2
    assert memory.read(state + shown("tea")) == unpack(state + shown("tea"), memory.now, PLAIN).part


@pytest.mark.parametrize("later", [LIFE, -timedelta(hours=1)])
async def test_what_is_old_goes_without_being_asked_for(
    memory: Memory, later: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked, "SWEEP_SECONDS", 0.001)
    memory.read(packed(act(1)))
    memory.now += later
    memory.read(packed(act(1)), Subject("s", "visit"))
    while ANNA in memory.states:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert Subject("s", "visit") in memory.states
    memory.now += LIFE
    while len(memory.states):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    memory.read(packed(act(1)))
    assert ANNA in memory.states


async def test_of_too_many_the_one_used_last_stays(memory: Memory) -> None:
    state, others = packed(act(1)), [Subject("s", f"s{n}") for n in range(MAX_SUBJECTS)]
    first = memory.read(state)
    for subject in others:
        memory.read(state, subject)
        assert memory.read(state) is first
    assert len(memory.states) == MAX_SUBJECTS
    assert others[0] not in memory.states
    assert others[1] in memory.states


async def test_what_is_dropped_is_gone_and_who_asked_before_brings_nothing_back(memory: Memory) -> None:
    state, visit = packed(act(1)), Subject("s", "visit")
    for forget in (lambda: memory.states.drop([ANNA]), memory.states.clear):
        drops = memory.states.drops
        memory.read(state)
        memory.read(state, visit)
        forget()
        assert ANNA not in memory.states
        found = memory.states.read(ANNA, state, NOW, drops)
        assert found
        assert found.part == unpack(state, NOW, PLAIN).part
        assert ANNA not in memory.states
    memory.read(state)
    assert ANNA in memory.states


async def test_a_profile_whose_key_is_missing_is_held_by_nobody(memory: Memory) -> None:
    cipher = TextCipher(["cGFzc3dvcmQgcGFzc3dvcmQgcGFzc3dvcmQgMTIzNDU="])
    locked = pack(Part((), {}, {}, {}, User("anna", "likes tea")), NOW, cipher)
    memory.read(packed(act(1)))
    with pytest.raises(Unavailable):
        memory.read(locked)
    assert ANNA not in memory.states
