"""OpenAPI links: what an answer leads to. For readers and generators of clients, and for the stateful conformance test."""

from __future__ import annotations

from typing import Any, NamedTuple

NEXT_CURSOR = "$response.body#/next_cursor"


class Link(NamedTuple):
    """to: an operation. parameters, body: runtime expressions of OpenAPI, by parameter or as the body."""

    to: str
    description: str
    parameters: dict[str, str] | None = None
    body: Any = None


def _following(to: str) -> tuple[Link, ...]:
    return (Link(to, "The next page, until next_cursor is null", {"cursor": NEXT_CURSOR}),)


def _resource(kind: str, id_name: str, *more: Link) -> tuple[Link, ...]:
    named = {id_name: f"$response.body#/{id_name}"}
    return (Link(f"get_{kind}", "Read it", named), Link(f"delete_{kind}", "Delete it", named), *more)


NEXT_SLATE = (Link("recommend_next", "What follows the slate, nothing repeated", body={"cursor": NEXT_CURSOR}),)
ITEM = {"item_id": "$response.body#/item_id"}
USER = {"user_id": "$response.body#/user_id"}
VERSION = {"version": "$response.body#/version"}
LINKS: dict[tuple[str, int], tuple[Link, ...]] = {
    ("recommend", 200): NEXT_SLATE,
    ("recommend_get", 200): NEXT_SLATE,
    ("recommend_next", 200): NEXT_SLATE,
    ("similar_items", 200): NEXT_SLATE,
    ("send_feedback", 202): (
        Link("retract_feedback", "Take the first event back", {"event_id": "$response.body#/event_ids/0"}),
    ),
    ("put_item", 200): _resource(
        "item", "item_id", Link("patch_item", "Change some fields", ITEM), Link("similar_items", "Items like it", ITEM)
    ),
    ("patch_item", 200): _resource("item", "item_id"),
    ("put_user", 200): _resource(
        "user",
        "user_id",
        Link("patch_user", "Change some fields", USER),
        Link("recommend_get", "What to show to this user", USER),
        Link("get_taste", "What the service takes this user to like", USER),
        Link("export_user", "All that is held of this user", USER),
    ),
    ("patch_user", 200): _resource("user", "user_id"),
    ("put_scenario", 200): (
        Link("get_scenario", "Read it", {"name": "$response.body#/name"}),
        Link("recommend_get", "A slate in this scenario", {"scenario": "$response.body#/name"}),
        Link("delete_scenario", "Delete it, or reset a ready-made one", {"name": "$response.body#/name"}),
    ),
    ("create_key", 201): (Link("revoke_key", "Revoke it", {"key_id": "$response.body#/id"}),),
    ("start_retrain", 202): (
        Link("get_job", "How far it is", {"job_id": "$response.body#/job_id"}),
        Link("cancel_job", "Stop it", {"job_id": "$response.body#/job_id"}),
    ),
    ("get_model", 200): (Link("activate_model", "Make it the live one", VERSION),),
    ("list_items", 200): _following("list_items"),
    ("list_users", 200): _following("list_users"),
    ("list_scenarios", 200): _following("list_scenarios"),
    ("list_keys", 200): _following("list_keys"),
    ("list_jobs", 200): _following("list_jobs"),
    ("list_models", 200): _following("list_models"),
}


def links_of(operation_id: str, status: int) -> dict[str, dict[str, Any]]:
    """As they stand in the document, under `links` of a response."""
    found = {}
    for link in LINKS.get((operation_id, status), ()):
        document: dict[str, Any] = {"operationId": link.to, "description": link.description}
        document |= {"parameters": link.parameters} if link.parameters else {}
        document |= {"requestBody": link.body} if link.body is not None else {}
        found[link.to] = document
    return found
