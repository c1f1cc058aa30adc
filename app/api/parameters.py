"""Path and query parameters that several routes share."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import Path, Query, Request
from pydantic import Field

from app.api.problems import FieldError, unprocessable
from app.api.query_string import query_pairs
from app.api.schemas import fields
from app.api.schemas.fields import PathId
from app.errors import Invalid

ItemId = Annotated[PathId, Path(description="One percent-encoded segment", examples=["sku-1"])]
UserId = Annotated[PathId, Path(description="One percent-encoded segment", examples=["u1"])]
EventId = Annotated[PathId, Path(description="One percent-encoded segment", examples=["click-4711"])]
ScenarioName = Annotated[PathId, Path(description="One percent-encoded segment", examples=["gifts"])]
ExperimentName = Annotated[PathId, Path(description="One percent-encoded segment", examples=["diverse home"])]
JobId = Annotated[PathId, Path(examples=["01JJX2M8Z6Q5T0V4W9Y1B3C7D2"])]
Version = Annotated[PathId, Path(examples=["2026-01-31T12-00-00Z-ab12"])]
KeyId = Annotated[PathId, Path(examples=["01JJX2M8Z6Q5T0V4W9Y1B3C7D2"])]


class PageQuery(fields.Query):
    limit: Annotated[int, Field(ge=1, le=fields.MAX_PAGE)] = Field(100, description="Rows of one page")
    cursor: Annotated[str, Field(max_length=2_048)] | None = Field(
        None, description="`next_cursor` of the page before; opaque"
    )


class SearchQuery(PageQuery):
    q: fields.Word | None = Field(None, description="Only rows with this text in a name or the id, ignoring case")


Page = Annotated[PageQuery, Query()]
Search = Annotated[SearchQuery, Query()]


def check_same_id(given: str | None, in_path: str, name: str) -> None:
    """A body may repeat the id of its path, and nothing else."""
    if given is not None and given != in_path:
        raise Invalid(f"the body says {given[:60]!r}, the path {in_path[:60]!r}", code="id_mismatch", loc=(name,))


async def refuse_repeated(request: Request) -> None:
    """A parameter that is no list and is given twice is an error, not a choice of the parser, like a key of a JSON object."""
    names = [name for name, _ in query_pairs(request.scope)]
    if len(names) == len(set(names)):
        return
    given = Counter(names)
    repeated = [name for name, times in given.items() if times > 1 and not is_list(request, name)]
    if repeated:
        raise unprocessable(
            [FieldError((name,), "repeated", "given more than once; give it once") for name in repeated]
        )


def is_list(request: Request, name: str) -> bool:
    """Or unknown: then somebody else says so."""
    route: Any = request.scope["route"]
    operation = request.app.openapi()["paths"][route.path][request.scope["method"].lower()]
    schemas = [parameter["schema"] for parameter in operation.get("parameters", ()) if parameter["name"] == name]
    return all("array" in str(schema) for schema in schemas)
