"""Lists that are shown slate by slate: what a cursor holds, and what was shown before it.

A cursor holds the request itself, so a slate that nobody continues costs the service no memory, and a profile given inline is
kept by nobody but the caller. The first cursor also holds what its slate showed. From the second slate on that is kept in the
page store, where a repeated cursor finds its slate again; without it the impressions tell, and a cursor made while the store is
away carries all that was shown.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

from ulid import ULID

from app.errors import Gone
from app.patience import Hold, hold_on
from app.serving.paging.plain import dump, load
from app.serving.paging.seal import Seal, bad_cursor
from app.serving.slate import Slate, SlateRequest
from app.types import Clock, utc_now

LIFE_SECONDS = 1800
MAX_SHOWN = 50_000  # items of one list; a list that long ends, whatever the catalogue still holds
POSTGRES_SECONDS = 2.0  # for what Redis does not know
COMPRESS_ABOVE = 1_024  # bytes
MAX_CONTENT = 8 << 20  # bytes, of what a cursor or a kept slate unfolds to


@dataclass(frozen=True, slots=True)
class Continuation:
    """A cursor, opened. list_id: recommendation id of the first slate. page: of the slate wanted, 0 is the first.

    shown: all that was shown before, () where the page store has it. beside: recommendation ids of what stood beside the first slate.
    """

    list_id: str
    page: int
    issued_at: int  # unix seconds
    request: SlateRequest
    shown: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def recommendation_id(self) -> str:
        """Of the slate wanted: the same whenever and wherever it is made, so that a repeated one is recorded once."""
        return page_id(self.list_id, self.page)


@dataclass(frozen=True, slots=True)
class KeptSlate:
    """has_more: whether the list went on behind it."""

    slate: Slate
    has_more: bool


@dataclass(frozen=True, slots=True)
class SoFar:
    """shown: items of the slates before. kept: the slate wanted, where it was made before. is_stored: the page store has `shown`."""

    shown: tuple[str, ...]
    kept: KeptSlate | None = None
    is_stored: bool = False


@dataclass(frozen=True, slots=True)
class StoredPages:
    """item_ids: of each page before the one wanted, None where the store does not know it. slate: of the page wanted."""

    item_ids: Sequence[Sequence[str] | None]
    slate: bytes | None


class PageStore(Protocol):
    """Redis. Each list is forgotten LIFE_SECONDS after its last slate."""

    async def read(self, list_id: str, page: int) -> StoredPages | None:
        """None while it does not answer."""

    async def keep(
        self, list_id: str, page: int, slate: bytes, item_ids: Sequence[str], before: Sequence[str]
    ) -> bytes | None:
        """Keep a slate unless the page has one. before: all that earlier pages showed, () if the store has it.

        Returns the slate that the page has now, None while the store does not answer.
        """


class ShownStore(Protocol):
    """Postgres: impressions."""

    def shown_by(self, recommendation_ids: Sequence[str]) -> Coroutine[Any, Any, Mapping[str, Sequence[str]]]:
        """Recommendation -> items, of those recorded. Raises Unavailable."""


class Lists:
    """hold: how to wait for the database."""

    def __init__(
        self, seal: Seal, pages: PageStore, impressions: ShownStore, *, clock: Clock = utc_now, hold: Hold = hold_on
    ) -> None:
        self._seal = seal
        self._pages = pages
        self._impressions = impressions
        self._clock = clock
        self._hold = hold

    def first_cursor(
        self, slate: Slate, request: SlateRequest, shown: Sequence[str], caller: str, beside: Sequence[str] = ()
    ) -> str:
        """shown: by the slate, and by those beside it on its page, whose recommendation ids are `beside`."""
        first = Continuation(slate.recommendation_id, 1, self._now(), request, tuple(shown), tuple(beside))
        return self._cursor(first, caller)

    def next_cursor(self, of: Continuation, shown: Sequence[str], caller: str) -> str:
        """Behind the slate of `of`. shown: () where the page store has it."""
        return self._cursor(replace(of, page=of.page + 1, issued_at=self._now(), shown=tuple(shown)), caller)

    def open(self, cursor: str, caller: str) -> Continuation:
        """Raises Invalid("bad_cursor"), Gone("cursor_expired")."""
        try:
            found = load(Continuation, unfolded(self._seal.open(cursor, caller)))
        except (ValueError, TypeError, KeyError, zlib.error) as error:  # of another release
            raise bad_cursor() from error
        if self._clock().timestamp() > found.issued_at + LIFE_SECONDS:
            raise expired(f"is older than {LIFE_SECONDS // 60} minutes")
        return found

    async def read(self, of: Continuation) -> SoFar:
        """Raises Gone("cursor_expired") for a list nobody knows any more, Unavailable while nobody can be asked."""
        stored = await self._pages.read(of.list_id, of.page)
        kept = None if stored is None or stored.slate is None else readable(stored.slate)
        if of.shown:
            return SoFar(of.shown, kept)
        pages: list[Sequence[str] | None] = list(stored.item_ids) if stored else [None] * of.page
        missing = [page_id(of.list_id, page) for page, item_ids in enumerate(pages) if item_ids is None]
        if missing:
            if pages[0] is None:
                missing += of.beside
            recorded = await self._hold(self._impressions.shown_by(missing), POSTGRES_SECONDS)
            pages = [*(item_ids for item_ids in pages if item_ids is not None), *map(recorded.get, missing)]
        if any(item_ids is None for item_ids in pages):
            raise expired("belongs to a list that is no longer known")
        return SoFar(tuple(chain.from_iterable(item_ids or () for item_ids in pages)), kept, not missing)

    async def keep(self, of: Continuation, so_far: SoFar, made: KeptSlate) -> tuple[KeptSlate, bool]:
        """Returns the slate that stands (another request with the same cursor may have been first), and whether it is kept."""
        item_ids = [item.item_id for item in made.slate.items]
        answer = await self._pages.keep(
            of.list_id, of.page, folded(dump(bare(made))), item_ids, () if so_far.is_stored else so_far.shown
        )
        stands = None if answer is None else readable(answer)
        if stands is None:
            return made, False
        is_ours = [item.item_id for item in stands.slate.items] == item_ids
        return (made if is_ours else stands), True

    def _cursor(self, continuation: Continuation, caller: str) -> str:
        return self._seal.seal(folded(dump(continuation)), caller)

    def _now(self) -> int:
        return int(self._clock().timestamp())


def readable(slate: bytes) -> KeptSlate | None:
    """A kept slate; None for one of another release."""
    try:
        return load(KeptSlate, unfolded(slate))
    except (ValueError, TypeError, KeyError, zlib.error):
        return None


def bare(kept: KeptSlate) -> KeptSlate:
    """Without what is read anew, or is of the moment."""
    items = tuple(replace(item, fields={}) for item in kept.slate.items)
    return replace(kept, slate=replace(kept.slate, items=items, diagnostics=None))


def page_id(list_id: str, page: int) -> str:
    """Recommendation id of a page: a ULID of the list's time, as hard to guess as the list's own."""
    if page == 0:
        return list_id
    digest = hashlib.blake2b(f"{list_id} {page}".encode(), digest_size=10).digest()
    return str(ULID.from_bytes(ULID.from_str(list_id).bytes[:6] + digest))


def folded(content: bytes) -> bytes:
    return b"z" + zlib.compress(content, 1) if len(content) > COMPRESS_ABOVE else b"p" + content


def unfolded(content: bytes) -> bytes:
    """Raises ValueError, zlib.error."""
    if content[:1] == b"p":
        return content[1:]
    inflater = zlib.decompressobj()
    plain = inflater.decompress(content[1:], MAX_CONTENT)
    if not inflater.eof:
        raise ValueError("incomplete or too large")
    return plain


def expired(why: str) -> Gone:
    return Gone(f"this cursor {why}; ask for a new slate", code="cursor_expired")
