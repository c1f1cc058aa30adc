"""/v1/items"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.api.auth import services_of
from app.api.bulk import BULK_ERRORS, bulk_bodies, read_bulk
from app.api.cursors import cut_page, decode_cursor
from app.api.json_body import JSON, MERGE_PATCH, JsonBody
from app.api.merge_patch import patch_item
from app.api.operation import STORE_ERRORS, json_of, operation
from app.api.parameters import ItemId, Search, check_same_id
from app.api.replies import no_content, reply
from app.api.schemas.feedback import BulkResult
from app.api.schemas.items import ItemList, ItemPatch, ItemPut, ItemRow, ItemView
from app.catalogue.item import Item
from app.errors import NotFound

router = APIRouter(prefix="/v1/items", tags=["items"])
ABSENT = {404: ("item_not_found",), **STORE_ERRORS}


def not_found(item_id: str) -> NotFound:
    return NotFound(f"there is no item {item_id[:100]!r}; PUT it first", code="item_not_found")


def view(item: Item) -> ItemView:
    return ItemView.model_validate(item)


@router.get("", **operation("list_items", "List items", scope="catalog", returns=ItemList))
async def list_items(request: Request, page: Search) -> Response:
    """In the byte order of the ids, so that paging is stable while items are written."""
    after = decode_cursor(page.cursor)
    rows = await services_of(request).catalogue.list_items(after=after, limit=page.limit + 1, query=page.q)
    items, next_cursor = cut_page(rows, page.limit, lambda item: item.item_id)
    return reply(ItemList(items=[view(item) for item in items], next_cursor=next_cursor))


@router.post(
    "",
    **operation(
        "bulk_upsert_items", "Insert or replace up to 1,000 items", scope="catalog", returns=BulkResult,
        bodies=bulk_bodies(ItemRow), errors=BULK_ERRORS,
    ),
)  # fmt: skip
async def bulk_upsert_items(request: Request) -> Response:
    """A JSON list, or NDJSON with one item a line. Each row stands alone; of rows with the same id the last one stays."""
    rows, rejected = await read_bulk(request, ItemRow)
    items = {row.item_id: row.to_item(row.item_id) for _, row in rows}
    if items:
        services = services_of(request)
        revision = await services.catalogue.upsert_items(list(items.values()))
        await services.live_state.announce_catalogue(revision)
    return reply(BulkResult(accepted=len(rows), rejected=rejected))


@router.put(
    "/{item_id}",
    **operation(
        "put_item", "Insert or replace an item", scope="catalog", returns=ItemView, bodies=json_of(ItemPut)
    ),
)  # fmt: skip
async def put_item(request: Request, item_id: ItemId, body: Annotated[ItemPut, Depends(JsonBody(ItemPut))]) -> Response:
    """It can be recommended within 5 seconds, through its text. What is left out is empty afterwards."""
    check_same_id(body.item_id, item_id, "item_id")
    services = services_of(request)
    item = body.to_item(item_id)
    revision = await services.catalogue.upsert_items([item])
    await services.live_state.announce_catalogue(revision)
    return reply(view(await services.catalogue.get_item(item_id) or item))


@router.patch(
    "/{item_id}",
    **operation(
        "patch_item", "Change some fields of an item", scope="catalog", returns=ItemView,
        bodies={JSON: ItemPatch, MERGE_PATCH: ItemPatch}, errors=ABSENT,
    ),
)  # fmt: skip
async def patch_item_fields(
    request: Request, item_id: ItemId, body: Annotated[ItemPatch, Depends(JsonBody(ItemPatch, JSON, MERGE_PATCH))]
) -> Response:
    """JSON merge patch: only what is given changes, null clears, `attributes` are merged by name."""
    services = services_of(request)
    changed = await services.catalogue.update_item(item_id, lambda item: patch_item(item, body))
    if changed is None:
        raise not_found(item_id)
    item, revision = changed
    await services.live_state.announce_catalogue(revision)
    return reply(view(item))


@router.get("/{item_id}", **operation("get_item", "Read an item", scope="catalog", returns=ItemView, errors=ABSENT))
async def get_item(request: Request, item_id: ItemId) -> Response:
    item = await services_of(request).catalogue.get_item(item_id)
    if item is None:
        raise not_found(item_id)
    return reply(view(item))


@router.delete("/{item_id}", **operation("delete_item", "Delete an item", scope="catalog", status=204, errors=ABSENT))
async def delete_item(request: Request, item_id: ItemId) -> Response:
    """Never recommended from the next request on; its events stay usable for training."""
    services = services_of(request)
    revision = await services.catalogue.delete_item(item_id)
    if revision is None:
        raise not_found(item_id)
    await services.live_state.announce_catalogue(revision)
    return no_content()
