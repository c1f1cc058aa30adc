"""/v1/admin/keys"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.access.keys import ApiKey
from app.api.auth import services_of
from app.api.cursors import page_of
from app.api.json_body import JsonBody
from app.api.operation import STORE_ERRORS, json_of, operation
from app.api.parameters import KeyId, Page
from app.api.replies import no_content, reply
from app.api.schemas.admin import KeyBody, KeyCreated, KeyList, KeyView
from app.errors import NotFound

router = APIRouter(prefix="/v1/admin/keys", tags=["keys"])


def view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.key_id,
        name=key.name,
        scopes=sorted(key.scopes),
        created_at=key.created_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
        rate_limit_per_minute=key.rate_limit_per_minute,
    )


@router.post(
    "",
    **operation(
        "create_key", "Create an API key", scope="admin", returns=KeyCreated, status=201, bodies=json_of(KeyBody)
    ),
)  # fmt: skip
async def create_key(request: Request, body: Annotated[KeyBody, Depends(JsonBody(KeyBody))]) -> Response:
    """The key is shown this once and kept only as a hash."""
    new = await services_of(request).keys.create(body.name, body.scopes, body.rate_limit_per_minute)
    record = new.record
    created = KeyCreated(id=record.key_id, key=new.secret, name=record.name, scopes=sorted(record.scopes))
    return reply(created, 201, {"Cache-Control": "no-store"})


@router.get("", **operation("list_keys", "List API keys", scope="admin", returns=KeyList))
async def list_keys(request: Request, page: Page) -> Response:
    """Oldest first, revoked ones included, without the keys themselves."""
    keys = await services_of(request).keys.list_keys()
    rows, next_cursor = page_of(keys, page.limit, page.cursor, lambda key: key.key_id)
    return reply(KeyList(keys=[view(key) for key in rows], next_cursor=next_cursor))


@router.delete(
    "/{key_id}",
    **operation(
        "revoke_key", "Revoke an API key", scope="admin", status=204, errors={404: ("key_not_found",), **STORE_ERRORS}
    ),
)
async def revoke_key(request: Request, key_id: KeyId) -> Response:
    """No longer accepted by this process at once, by the others within 2 seconds."""
    if not await services_of(request).keys.revoke(key_id):
        raise NotFound(f"there is no key {key_id[:100]!r}, or it was revoked already", code="key_not_found")
    return no_content()
