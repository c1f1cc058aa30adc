"""What a cursor holds comes back as it was; nobody else can read it; it says when it is too old or not one at all."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from ulid import ULID

from app.catalogue.item import Consent, User
from app.errors import Gone, Invalid, Unavailable
from app.scenarios.scenario import Boost
from app.serving.paging.lists import (
    LIFE_SECONDS,
    Continuation,
    KeptSlate,
    Lists,
    StoredPages,
    folded,
    page_id,
    unfolded,
)
from app.serving.paging.plain import dump, load
from app.serving.paging.seal import Seal
from app.serving.reasons.reason import Evidence, Reason
from app.serving.slate import Slate, SlateItem, SlateRequest

REQUEST = SlateRequest(
    "home", "u1", "s1",
    user=User("u1", "I fish", 40, "male", "baker", "DE", tags=("a", "b"), attributes={"x": [1, {"y": None}]}, consent=Consent(False)),
    context_items=("a", "b/c"), n=7, filter={"and": [{"field": "price", "lt": 5.5}]}, boosts=(Boost({"field": "brand", "eq": "A"}, 2.0),),
    exclude_items=frozenset({"x", "ÿ"}), diversity=0.5, fields=("title",), reasons=True, diagnostics=True, model_version="v1",
    context={"device": "phone"}, seed=7, query="a lamp, under 50",
)  # fmt: skip
ITEM = SlateItem(
    "a", 1, 0.5, ("two_tower", "new"), True, reason=Reason("because", (Evidence("history", 0.5, item_id="b"),))
)
SLATE = Slate(str(ULID()), "home", "v1", (ITEM,), ("popular",), ("model",))


class Secrets:
    def __init__(self, secret: bytes | None) -> None:
        self.secret = secret

    async def shared_secret(self, name: str, num_bytes: int) -> bytes:
        if self.secret is None:
            raise Unavailable("away")
        return self.secret


class NoPages:
    """Redis that is away."""

    async def read(self, list_id: str, page: int) -> StoredPages | None:
        return None

    async def keep(self, *given: object) -> bytes | None:
        return None


class Shown:
    """Impressions. None: Postgres is away."""

    def __init__(self, shown: dict[str, Sequence[str]] | None) -> None:
        self.shown = shown

    async def shown_by(self, recommendation_ids: Sequence[str]) -> dict[str, Sequence[str]]:
        if self.shown is None:
            raise Unavailable("away")
        return {name: items for name, items in self.shown.items() if name in recommendation_ids}


async def sealed(secret: bytes | None = b"k" * 32) -> Seal:
    seal = Seal(Secrets(secret))
    await seal.start()
    return seal


async def lists(seal: Seal, shown: Shown | None = None, now: datetime | None = None) -> Lists:
    return Lists(seal, NoPages(), shown or Shown({}), clock=lambda: now or datetime.now(UTC))


def test_every_field_of_a_request_is_set_in_the_example():
    """So that a field added later is tested here as well."""
    for field in dataclasses.fields(SlateRequest):
        assert getattr(REQUEST, field.name) != field.default, field.name


def test_requests_and_slates_come_back_as_they_were():
    for value in (
        REQUEST,
        SlateRequest("home"),
        Continuation("l", 3, 5, REQUEST, ("a",)),
        Continuation("l", 3, 5, REQUEST, beside=("m",)),
        SLATE,
        KeptSlate(SLATE, True),
    ):
        assert load(type(value), dump(value)) == value
    assert len(dump(SlateRequest("home"))) < 30


async def test_a_cursor_is_read_by_every_process_and_only_for_its_key():
    first, second = await lists(await sealed()), await lists(await sealed())
    cursor = first.first_cursor(SLATE, REQUEST, ["a", "z"], "key-1")
    found = second.open(cursor, "key-1")
    assert (found.list_id, found.page, found.request, found.shown) == (SLATE.recommendation_id, 1, REQUEST, ("a", "z"))
    assert cursor != first.first_cursor(SLATE, REQUEST, ["a", "z"], "key-1")
    stranger = await lists(await sealed(b"x" * 32))
    for reader, caller in ((second, "key-2"), (stranger, "key-1")):
        with pytest.raises(Invalid, match="not a cursor"):
            reader.open(cursor, caller)


async def test_nothing_else_is_a_cursor():
    reader = await lists(await sealed())
    cursor = reader.first_cursor(SLATE, REQUEST, ["a"], "k")
    seal = await sealed()
    strange = [seal.seal(content, "k") for content in (b"", b"p", b"pnull", b"p[]", b'p{"page":1}', b"zzz", b"q{}")]
    draw = random.Random(3)
    altered = [cursor[:i] + draw.choice("Ab-_9") + cursor[i + 1 :] for i in range(0, len(cursor) - 2, 7)]
    for text in (
        "",
        "A",
        "nonsense",
        "ÿ",
        "A" * 10_000,
        cursor[:-4],
        cursor + "AAAA",
        *strange,
        *set(altered) - {cursor},
    ):
        with pytest.raises(Invalid) as caught:
            reader.open(text, "k")
        assert (caught.value.code, caught.value.loc) == ("bad_cursor", ("cursor",))


async def test_a_cursor_grows_old():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    cursor = (await lists(await sealed(), now=now)).first_cursor(SLATE, REQUEST, ["a"], "k")
    young, old = [await lists(await sealed(), now=now + timedelta(seconds=LIFE_SECONDS + s)) for s in (-1, 1)]
    young.open(cursor, "k")
    with pytest.raises(Gone) as caught:
        old.open(cursor, "k")
    assert caught.value.code == "cursor_expired"


async def test_a_process_that_could_not_read_the_secret_yet_opens_its_own_cursors():
    seal = await sealed(None)
    reader = await lists(seal)
    cursor = reader.first_cursor(SLATE, REQUEST, ["a"], "k")
    assert reader.open(cursor, "k").shown == ("a",)
    await seal.close()


async def test_without_redis_a_cursor_carries_what_was_shown():
    reader = await lists(await sealed())
    of = reader.open(reader.first_cursor(SLATE, REQUEST, ["a"], "k"), "k")
    so_far = await reader.read(of)
    made = KeptSlate(SLATE, True)
    assert await reader.keep(of, so_far, made) == (made, False)
    then = reader.open(reader.next_cursor(of, ["a", "b"], "k"), "k")
    assert (then.page, (await reader.read(then)).shown) == (2, ("a", "b"))


async def test_a_list_that_redis_forgot_is_found_in_the_impressions():
    list_id = SLATE.recommendation_id
    of = Continuation(list_id, 2, 0, REQUEST)
    seal = await sealed()
    whole = await lists(seal, Shown({list_id: ["a"], page_id(list_id, 1): ["b", "c"]}))
    assert (await whole.read(of)).shown == ("a", "b", "c")
    with pytest.raises(Gone):
        await (await lists(seal, Shown({list_id: ["a"]}))).read(of)
    with pytest.raises(Unavailable):
        await (await lists(seal, Shown(None))).read(of)
    on_a_page = dataclasses.replace(of, page=1, beside=("x", "y"))
    page = {list_id: ["a"], "x": ["b"], "y": ["c"]}
    assert (await (await lists(seal, Shown(page))).read(on_a_page)).shown == ("a", "b", "c")
    with pytest.raises(Gone):
        await (await lists(seal, Shown({list_id: ["a"], "x": ["b"]}))).read(on_a_page)


def test_the_slates_of_a_list_have_ids_of_their_own_always_the_same():
    list_id = str(ULID())
    found = [page_id(list_id, page) for page in range(100)]
    assert found[0] == list_id
    assert len(set(found)) == 100
    assert found == [page_id(list_id, page) for page in range(100)]
    assert {one[:10] for one in found} == {list_id[:10]}  # the time
    assert page_id(str(ULID()), 1) not in found


def test_long_content_is_folded_and_a_bomb_is_not_unfolded():
    content = b"abc" * 5_000
    assert unfolded(folded(content)) == content
    assert len(folded(content)) < 1_000
    with pytest.raises(ValueError, match="too large"):
        unfolded(folded(b"\x00" * (9 << 20)))
