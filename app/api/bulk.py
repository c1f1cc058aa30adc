"""Bulk upserts of items and users: the same envelope, the same answer."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from app.api.json_body import BULK_LIMIT, JSON, NDJSON, expect_media_type, read_json
from app.api.operation import STORE_ERRORS
from app.api.rows import MAX_ROWS, Row, check_rows, read_ndjson, validate_rows
from app.api.schemas.feedback import RejectedRow

BULK_ERRORS = STORE_ERRORS


def bulk_bodies(model: type[BaseModel]) -> dict[str, Any]:
    """For the document: a list of rows, or one row a line."""
    row = model.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = {model.__name__: row, **row.pop("$defs", {})}
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    rows = {"type": "array", "items": reference, "minItems": 1, "maxItems": MAX_ROWS, "$defs": definitions}
    if "examples" in row:
        rows["examples"] = [row["examples"]]
    return {JSON: rows, NDJSON: ndjson_schema(model)}


def ndjson_schema(model: type[BaseModel]) -> dict[str, Any]:
    examples = model.model_json_schema().get("examples", [])
    return {
        "type": "string",
        "description": f"One {model.__name__} as JSON a line, at most {MAX_ROWS} lines",
        "examples": ["".join(json.dumps(example) + "\n" for example in examples)],
    }


async def read_bulk(request: Request, model: type[Row]) -> tuple[list[tuple[int, Row]], list[RejectedRow]]:
    if expect_media_type(request, JSON, NDJSON) == NDJSON:
        return validate_rows(model, await read_ndjson(request))
    return validate_rows(model, check_rows(await read_json(request, BULK_LIMIT, JSON), ()))
