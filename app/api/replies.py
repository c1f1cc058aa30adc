"""Response bodies: views are dumped by pydantic-core, hot answers by orjson; nothing is validated on its way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

JSON = "application/json"


def reply(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(view.model_dump_json(by_alias=True), status, headers, JSON)


def reply_raw(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document, option=orjson.OPT_UTC_Z), status, media_type=JSON)


def no_content() -> Response:
    return Response(status_code=204)
