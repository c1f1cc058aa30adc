"""/v1/users"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response
from ulid import ULID

from app.api.auth import services_of
from app.api.bulk import BULK_ERRORS, bulk_bodies, read_bulk
from app.api.cursors import cut_page, decode_cursor
from app.api.json_body import JSON, MERGE_PATCH, JsonBody
from app.api.merge_patch import patch_user
from app.api.operation import STORE_ERRORS, json_of, operation
from app.api.parameters import Search, UserId, check_same_id
from app.api.replies import reply
from app.api.schemas.feedback import BulkResult
from app.api.schemas.privacy import ErasureView, ExportView, TasteQuery, TasteView
from app.api.schemas.users import MergeBody, MergeView, UserList, UserPatch, UserPut, UserRow, UserView
from app.api.services import Services
from app.catalogue.item import User
from app.errors import NotFound

router = APIRouter(prefix="/v1/users", tags=["users"])
ABSENT = {404: ("user_not_found",), **STORE_ERRORS}


def not_found(user_id: str) -> NotFound:
    return NotFound(f"there is no user {user_id[:100]!r}; PUT it first", code="user_not_found")


def nothing_held(user_id: str) -> NotFound:
    return NotFound(f"nothing is held of a user {user_id[:100]!r}", code="user_not_found")


async def bring_to_live_state(services: Services, user_ids: Sequence[str], group_id: str) -> None:
    """Where that fails the note of the change stays, and the repair does it."""
    if await services.live_state.forget_users(user_ids):
        services.intake.confirm(group_id)


def view(user: User) -> UserView:
    return UserView.model_validate(user)


@router.get("", **operation("list_users", "List users", scope="catalog", returns=UserList))
async def list_users(request: Request, page: Search) -> Response:
    """In the byte order of the ids, so that paging is stable while users are written."""
    after = decode_cursor(page.cursor)
    rows = await services_of(request).catalogue.list_users(after=after, limit=page.limit + 1, query=page.q)
    users, next_cursor = cut_page(rows, page.limit, lambda user: user.user_id)
    return reply(UserList(users=[view(user) for user in users], next_cursor=next_cursor))


@router.post(
    "",
    **operation(
        "bulk_upsert_users", "Insert or replace up to 1,000 users", scope="catalog", returns=BulkResult,
        bodies=bulk_bodies(UserRow), errors=BULK_ERRORS,
    ),
)  # fmt: skip
async def bulk_upsert_users(request: Request) -> Response:
    """A JSON list, or NDJSON with one user a line. Each row stands alone; of rows with the same id the last one stays."""
    rows, rejected = await read_bulk(request, UserRow)
    users = {row.user_id: row.to_user(row.user_id) for _, row in rows}
    if users:
        services = services_of(request)
        group_id = str(ULID())
        await services.catalogue.upsert_users(list(users.values()), group_id=group_id)
        await bring_to_live_state(services, list(users), group_id)
    return reply(BulkResult(accepted=len(rows), rejected=rejected))


@router.post(
    "/{user_id}/merge",
    **operation(
        "merge_user", "Join a guest into an account", scope="feedback", returns=MergeView, bodies=json_of(MergeBody),
        errors={422: ("merge_into_itself",), **STORE_ERRORS},
    ),
)  # fmt: skip
async def merge_user(
    request: Request, user_id: UserId, body: Annotated[MergeBody, Depends(JsonBody(MergeBody))]
) -> Response:
    """At login: events and impressions of a session (those that belong to nobody yet) or of a guest's user id become the
    account's, and the next slate of the account knows them. Of a guest's profile the account takes what it has not itself;
    what either did not consent to is not consented to. An unknown guest merges nothing. May be repeated: events that a
    session sends later without `user_id` stay the session's until the next merge."""
    merged = await services_of(request).merger.merge(body.to_guest(), user_id)
    return reply(MergeView.model_validate(merged))


@router.put(
    "/{user_id}",
    **operation(
        "put_user", "Insert or replace a user", scope="catalog", returns=UserView, bodies=json_of(UserPut)
    ),
)  # fmt: skip
async def put_user(request: Request, user_id: UserId, body: Annotated[UserPut, Depends(JsonBody(UserPut))]) -> Response:
    """The next slate already knows the profile. What is left out is empty afterwards."""
    check_same_id(body.user_id, user_id, "user_id")
    services = services_of(request)
    user = body.to_user(user_id)
    group_id = str(ULID())
    await services.catalogue.upsert_users([user], group_id=group_id)
    await bring_to_live_state(services, [user_id], group_id)
    return reply(view(await services.catalogue.get_user(user_id) or user))


@router.patch(
    "/{user_id}",
    **operation(
        "patch_user", "Change some fields of a user", scope="catalog", returns=UserView,
        bodies={JSON: UserPatch, MERGE_PATCH: UserPatch}, errors=ABSENT,
    ),
)  # fmt: skip
async def patch_user_fields(
    request: Request, user_id: UserId, body: Annotated[UserPatch, Depends(JsonBody(UserPatch, JSON, MERGE_PATCH))]
) -> Response:
    """JSON merge patch: only what is given changes, null clears, `attributes` and `consent` are merged by name."""
    services = services_of(request)
    group_id = str(ULID())
    user = await services.catalogue.update_user(user_id, lambda user: patch_user(user, body), group_id=group_id)
    if user is None:
        raise not_found(user_id)
    await bring_to_live_state(services, [user_id], group_id)
    return reply(view(user))


@router.get("/{user_id}", **operation("get_user", "Read a user", scope="catalog", returns=UserView, errors=ABSENT))
async def get_user(request: Request, user_id: UserId) -> Response:
    user = await services_of(request).catalogue.get_user(user_id)
    if user is None:
        raise not_found(user_id)
    return reply(view(user))


@router.get(
    "/{user_id}/export",
    **operation("export_user", "Everything held of a user", scope="catalog", returns=ExportView, errors=ABSENT),
)
async def export_user(request: Request, user_id: UserId) -> Response:
    """Profile, events (retracted ones too, and what the sessions in which only this user was recognised did before that),
    impressions, live state, taste profile, and what of it the live model may have been trained on."""
    holdings = await services_of(request).exporter.export(user_id)
    if holdings is None:
        raise nothing_held(user_id)
    return reply(ExportView.of(user_id, holdings))


@router.get(
    "/{user_id}/profile",
    **operation("get_taste", "Read a user's taste profile", scope="catalog", returns=TasteView, errors=ABSENT),
)
async def get_taste(request: Request, user_id: UserId, query: Annotated[TasteQuery, Query()]) -> Response:
    """The top interests, from the newest 100 events that the next slate goes by: categories, brands and tags, each with its
    share of what was done (weighted by kind of event, halved every 30 days) and the events behind it."""
    taste = await services_of(request).taste.read(user_id, query.limit)
    if taste is None:
        raise nothing_held(user_id)
    return reply(TasteView.of(user_id, taste))


@router.delete(
    "/{user_id}",
    **operation("delete_user", "Erase a user", scope="catalog", returns=ErasureView, errors=ABSENT),
)
async def delete_user(request: Request, user_id: UserId) -> Response:
    """All that is held of the user is gone with the reply: profile, events, live state, vectors of texts, and what the sessions in which
    only this user was recognised did before that. Impressions stay under a random alias, without session and context. What the live
    model has learned from the events stays in it until the retraining that the reply names. An event sent later starts from
    nothing. While a store is away nothing is erased: 503. Backups are not touched: repeat the call after a restore."""
    erasure = await services_of(request).eraser.erase(user_id)
    if erasure is None:
        raise nothing_held(user_id)
    return reply(ErasureView.of(user_id, erasure))
