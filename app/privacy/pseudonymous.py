"""The services with the storefront's ids outside and pseudonyms inside: each wraps the part of the same name and adds nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import polars as pl

from app.catalogue.item import User
from app.catalogue.ports import CatalogueStore, ShopDataStore
from app.catalogue.shop_data import ShopData
from app.feedback.event import Event, Impression
from app.feedback.intake import FeedbackIntake
from app.feedback.merging import Guest, Merged, Merger, check_two
from app.feedback.state import LiveState, UserState
from app.privacy.erasure import Eraser, Erasure
from app.privacy.exporting import Exporter, HeldRows, Holdings
from app.privacy.pseudonyms import Pseudonyms
from app.privacy.taste import Taste, TasteReader
from app.serving.ordering import RankedItems
from app.serving.recommender import Recommender
from app.serving.slate import Slate, SlateRequest
from app.types import Json, Progress

ID_COLUMNS = ("user_id", "session_id")
T = TypeVar("T", Event, Impression, SlateRequest)
Rename = Callable[[str], str]


class PseudonymousIntake:
    def __init__(self, inner: FeedbackIntake, ids: Pseudonyms) -> None:
        self._inner, self._ids = inner, ids
        self.retract, self.confirm = inner.retract, inner.confirm

    async def submit(self, events: Sequence[Event]) -> set[str]:
        return await self._inner.submit([renamed(event, self._ids.hide) for event in events])


class PseudonymousMerger:
    def __init__(self, inner: Merger, ids: Pseudonyms) -> None:
        self._inner, self._ids = inner, ids

    async def merge(self, guest: Guest, user_id: str) -> Merged:
        check_two(guest, user_id)  # here, because its message names the id
        hidden = Guest(if_given(self._ids.hide, guest.user_id), if_given(self._ids.hide, guest.session_id))
        return await self._inner.merge(hidden, self._ids.hide(user_id))


class PseudonymousLiveState:
    def __init__(self, inner: LiveState, ids: Pseudonyms) -> None:
        self._inner, self._ids = inner, ids
        self.trending, self.exposures = inner.trending, inner.exposures
        self.announce_catalogue, self.recount_trends = inner.announce_catalogue, inner.recount_trends

    async def read(self, user_id: str | None, session_id: str | None) -> UserState:
        hide = self._ids.hide
        state = await self._inner.read(if_given(hide, user_id), if_given(hide, session_id))
        return state if state.profile is None else replace(state, profile=renamed_user(state.profile, self._ids.show))

    async def apply(self, events: Sequence[Event]) -> bool:
        return await self._inner.apply([renamed(event, self._ids.hide) for event in events])

    async def shown(self, impressions: Sequence[Impression]) -> None:
        await self._inner.shown([renamed(shown, self._ids.hide) for shown in impressions])

    async def take_back(self, event: Event) -> bool:
        return await self._inner.take_back(renamed(event, self._ids.hide))

    async def forget(self, *, user_id: str | None = None, session_id: str | None = None) -> bool:
        hide = self._ids.hide
        return await self._inner.forget(user_id=if_given(hide, user_id), session_id=if_given(hide, session_id))

    async def forget_users(self, user_ids: Sequence[str]) -> bool:
        return await self._inner.forget_users([self._ids.hide(user_id) for user_id in user_ids])

    async def forget_shoppers_of(self, events: Sequence[Event]) -> bool:
        return await self._inner.forget_shoppers_of([renamed(event, self._ids.hide) for event in events])


class PseudonymousRecommender:
    def __init__(self, inner: Recommender, ids: Pseudonyms) -> None:
        self._inner, self._ids = inner, ids
        self.recommend_next = inner.recommend_next  # a cursor holds the pseudonyms

    async def recommend(self, request: SlateRequest, caller: str) -> Slate:
        return await self._inner.recommend(renamed(request, self._ids.hide), caller)

    async def recommend_page(self, requests: Sequence[SlateRequest], caller: str) -> Sequence[Slate]:
        return await self._inner.recommend_page([renamed(request, self._ids.hide) for request in requests], caller)

    async def rank_items(self, request: SlateRequest, item_ids: Sequence[str]) -> RankedItems:
        return await self._inner.rank_items(renamed(request, self._ids.hide), item_ids)


class PseudonymousCatalogue:
    """Users are listed in the order of their pseudonyms, and found by the whole of their id."""

    def __init__(self, inner: CatalogueStore, ids: Pseudonyms) -> None:
        self._inner, self._ids = inner, ids
        self.upsert_items, self.update_item, self.delete_item = inner.upsert_items, inner.update_item, inner.delete_item
        self.get_item, self.get_items, self.list_items = inner.get_item, inner.get_items, inner.list_items
        self.items_changed_since = inner.items_changed_since

    async def upsert_users(self, users: Sequence[User], *, group_id: str | None = None) -> None:
        await self._inner.upsert_users([renamed_user(user, self._ids.hide) for user in users], group_id=group_id)

    async def update_user(
        self, user_id: str, change: Callable[[User], User], *, group_id: str | None = None
    ) -> User | None:
        hide, show = self._ids.hide, self._ids.show
        changed = await self._inner.update_user(
            hide(user_id), lambda user: renamed_user(change(renamed_user(user, show)), hide), group_id=group_id
        )
        return None if changed is None else renamed_user(changed, show)

    async def get_user(self, user_id: str) -> User | None:
        user = await self._inner.get_user(self._ids.hide(user_id))
        return None if user is None else renamed_user(user, self._ids.show)

    async def list_users(
        self, *, after: str | None, limit: int, query: str | None = None, whole_id: str | None = None
    ) -> list[User]:
        hide = self._ids.hide
        users = await self._inner.list_users(
            after=if_given(hide, after), limit=limit, query=query, whole_id=if_given(hide, query)
        )
        return [renamed_user(user, self._ids.show) for user in users]


class PseudonymousShopData:
    def __init__(self, inner: ShopDataStore, ids: Pseudonyms) -> None:
        self._inner, self._ids = inner, ids
        self.open_log, self.counts = inner.open_log, inner.counts

    async def load(self, data: ShopData, progress: Progress) -> dict[str, int]:
        return await self._inner.load(renamed_shop(data, self._ids.hide), progress)

    async def read(self) -> ShopData:
        return renamed_shop(await self._inner.read(), self._ids.show)


class PseudonymousEraser:
    def __init__(self, inner: Eraser, ids: Pseudonyms) -> None:
        self._inner, self._ids = inner, ids

    async def erase(self, user_id: str) -> Erasure | None:
        return await self._inner.erase(self._ids.hide(user_id))


class PseudonymousExporter:
    def __init__(self, inner: Exporter, ids: Pseudonyms) -> None:
        self._inner, self._ids = inner, ids

    async def export(self, user_id: str) -> Holdings | None:
        holdings = await self._inner.export(self._ids.hide(user_id))
        if holdings is None:
            return None
        show, rows = self._ids.show, holdings.rows
        shown = HeldRows(
            None if rows.profile is None else renamed_user(rows.profile, show),
            [replace(held, event=renamed(held.event, show)) for held in rows.events],
            [renamed(impression, show) for impression in rows.impressions],
            rows.text_vectors,
        )
        return replace(holdings, rows=shown, refused=[renamed_row(event, show) for event in holdings.refused])


class PseudonymousTaste:
    def __init__(self, inner: TasteReader, ids: Pseudonyms) -> None:
        self._inner, self._ids = inner, ids

    async def read(self, user_id: str, limit: int) -> Taste | None:
        return await self._inner.read(self._ids.hide(user_id), limit)


def if_given(rename: Rename, given: str | None) -> str | None:
    return None if given is None else rename(given)


def renamed(of: T, rename: Rename) -> T:
    return replace(of, user_id=if_given(rename, of.user_id), session_id=if_given(rename, of.session_id))


def renamed_user(user: User, rename: Rename) -> User:
    return replace(user, user_id=rename(user.user_id))


def renamed_row(row: dict[str, Json], rename: Rename) -> dict[str, Json]:
    return row | {name: rename(str(row[name])) for name in ID_COLUMNS if row.get(name) is not None}


def renamed_shop(data: ShopData, rename: Rename) -> ShopData:
    return replace(data, users=renamed_frame(data.users, rename), events=renamed_frame(data.events, rename))


def renamed_frame(frame: pl.DataFrame, rename: Rename) -> pl.DataFrame:
    """Each different id once."""
    for name in ID_COLUMNS:
        if name in frame.columns:
            ids = frame[name].drop_nulls().unique().to_list()
            names = {given: rename(given) for given in ids}
            frame = frame.with_columns(pl.col(name).replace_strict(names, default=None, return_dtype=pl.String))
    return frame
