"""Requests for a slate, and slates."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.schemas.fields import (
    Attributes,
    Body,
    Context,
    Id,
    JsonObject,
    LongText,
    Query,
    View,
    Word,
    check_text,
    empty,
)
from app.api.schemas.items import Tags
from app.api.schemas.users import Age
from app.catalogue.item import User
from app.retrieval.filters import cost_of
from app.scenarios.scenario import Boost
from app.serving.slate import SlateRequest

MAX_SLATE = 200
MAX_FILTER_COST = 150
SIMILAR = "similar"
Words = Annotated[str, Field(max_length=1_000), AfterValidator(check_text)]
QUERY = 'Natural language: "gift for dad who fishes, under 50, not electronics". What it demands is never relaxed'
ContextItems = Annotated[list[Id], Field(max_length=50)]
ExcludedItems = Annotated[list[Id], Field(max_length=1_000)]
ItemFieldNames = Annotated[list[Word], Field(max_length=50)]


def split_names(given: Any) -> Any:
    """Two names out of "title,price". (An attribute with a comma in its name is asked for by POST.)"""
    return [name for names in given for name in names.split(",")] if isinstance(given, list) else given


QueriedFieldNames = Annotated[
    ItemFieldNames,
    BeforeValidator(split_names),
    Field(description="Separated by commas, or repeat the parameter", examples=[["title", "price"]]),
]
SlateSize = Annotated[int, Field(ge=1, le=MAX_SLATE)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
SEED = "Of rotation and exploration: the same request with the same seed gives the same slate"


class BoostBody(Body):
    filter: JsonObject
    factor: Annotated[float, Field(ge=0.1, le=10)]

    def to_boost(self) -> Boost:
        return Boost(self.filter, self.factor)


Boosts = Annotated[list[BoostBody], Field(max_length=20)]


class InlineProfile(Body):
    """A profile for this request only; never stored. It wins over the stored one."""

    text: LongText | None = None
    age: Age | None = None
    gender: Word | None = None
    occupation: Word | None = None
    country: Word | None = None
    tags: Tags = empty(list)
    attributes: Attributes = empty(dict)

    def to_user(self, user_id: str | None) -> User:
        return User(
            user_id or "", self.text, self.age, self.gender, self.occupation, self.country,
            tags=tuple(self.tags), attributes=self.attributes,
        )  # fmt: skip


class Selective(Body):
    """What a call wants and does not want."""

    filter: JsonObject | None = Field(None, description="Never relaxed: what does not match is never returned")
    boosts: Boosts = empty(list, description="Soft preferences: scores of matching items are multiplied")

    @model_validator(mode="after")
    def check_cost(self) -> Self:
        """A clause costs up to a millisecond on 100,000 items, and a request may bring 21 filters."""
        cost = self.filter_cost()
        if cost > MAX_FILTER_COST:
            raise PydanticCustomError(
                "query_too_costly",
                "filter and boosts together have {cost} clauses (100 values of a list count as one), at most {most} are possible",
                {"cost": cost, "most": MAX_FILTER_COST},
            )
        return self

    def filter_cost(self) -> int:
        return cost_of(self.filter) + sum(cost_of(boost.filter) for boost in self.boosts)


class SlateOptions(Selective):
    """What a slate is to be, whoever it is for."""

    scenario: Id = Field(description="A configured scenario")
    context_items: ContextItems = empty(list, description="The item being viewed, or the cart")
    query: Words | None = Field(None, description=QUERY)
    n: SlateSize | None = Field(None, description="Slate size; default: the scenario's")
    exclude_items: ExcludedItems = empty(list)
    diversity: Share | None = Field(
        None, description="0: relevance alone, 1: difference alone; default: the scenario's"
    )
    fields: ItemFieldNames = empty(list, description="Item properties to return with each item, or attributes.<name>")
    reasons: bool = Field(False, description="Why each item is there")

    def options(self) -> dict[str, Any]:
        """As SlateRequest takes them."""
        return {
            "scenario": self.scenario,
            "context_items": tuple(self.context_items),
            "query": self.query,
            "n": self.n,
            "filter": self.filter,
            "boosts": tuple(boost.to_boost() for boost in self.boosts),
            "exclude_items": frozenset(self.exclude_items),
            "diversity": self.diversity,
            "fields": tuple(self.fields),
            "reasons": self.reasons,
        }


class Shopper(Body):
    """Who a call is for, and how it is to be answered."""

    user_id: Id | None = Field(None, description="An unknown user is not an error: cold start")
    session_id: Id | None = Field(None, description="A visit; for guests, or beside user_id")
    user: InlineProfile | None = None
    diagnostics: bool = Field(False, description="Needs the scope admin: where candidates came from and went")
    model_version: Word | None = Field(
        None, description="Needs the scope admin: a preview with a version that is not live; it is not recorded"
    )
    context: Context = empty(dict, description="device, country, locale and free keys; recorded with the impression")
    seed: Seed | None = Field(None, description=SEED)

    def shopper(self) -> dict[str, Any]:
        """As SlateRequest takes it."""
        return {
            "user_id": self.user_id,
            "session_id": self.session_id,
            "user": self.user.to_user(self.user_id) if self.user else None,
            "diagnostics": self.diagnostics,
            "model_version": self.model_version,
            "context": self.context,
            "seed": self.seed,
        }


class RecommendBody(SlateOptions, Shopper):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "scenario": "home",
                    "user_id": "u1",
                    "n": 10,
                    "filter": {"and": [{"field": "price", "lt": 50}, {"field": "category", "contains": "Kitchen"}]},
                    "fields": ["title", "price"],
                }
            ]
        }
    )

    def to_request(self) -> SlateRequest:
        return SlateRequest(**self.options(), **self.shopper())


class NextBody(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"cursor": "AbK9sXw1q2…"}]})

    cursor: Annotated[str, Field(min_length=1, max_length=1_000_000)] = Field(
        description="`next_cursor` of a slate, as it was given; opaque, valid for 30 minutes and for the same API key"
    )


class RecommendQuery(Query):
    scenario: Id = Field(description="A configured scenario", examples=["home"])
    user_id: Id | None = Field(None, examples=["u1"])
    session_id: Id | None = None
    context_items: ContextItems = empty(list, description="Repeat the parameter for several items")
    query: Words | None = Field(None, description=QUERY)
    n: SlateSize | None = Field(None, description="Slate size; default: the scenario's", examples=[10])
    exclude_items: ExcludedItems = empty(list, description="Repeat the parameter for several items")
    diversity: Share | None = Field(
        None, description="0: relevance alone, 1: difference alone; default: the scenario's"
    )
    fields: QueriedFieldNames = empty(list)
    reasons: bool = Field(False, description="Why each item is there")
    diagnostics: bool = Field(False, description="Needs the scope admin")
    model_version: Word | None = Field(None, description="Needs the scope admin: a preview with another version")
    seed: Seed | None = Field(None, description=SEED)

    def to_request(self) -> SlateRequest:
        return SlateRequest(
            scenario=self.scenario,
            user_id=self.user_id,
            session_id=self.session_id,
            context_items=tuple(self.context_items),
            query=self.query,
            n=self.n,
            exclude_items=frozenset(self.exclude_items),
            diversity=self.diversity,
            fields=tuple(self.fields),
            reasons=self.reasons,
            diagnostics=self.diagnostics,
            model_version=self.model_version,
            seed=self.seed,
        )


class SimilarQuery(Query):
    n: SlateSize | None = Field(None, description="Slate size; default: the scenario's", examples=[10])
    user_id: Id | None = Field(None, description="Makes the slate personal")
    session_id: Id | None = None
    exclude_items: ExcludedItems = empty(list, description="Repeat the parameter for several items")
    diversity: Share | None = Field(
        None, description="0: relevance alone, 1: difference alone; default: the scenario's"
    )
    fields: QueriedFieldNames = empty(list)
    reasons: bool = Field(False, description="Why each item is there")
    diagnostics: bool = Field(False, description="Needs the scope admin")
    model_version: Word | None = Field(None, description="Needs the scope admin: a preview with another version")
    seed: Seed | None = Field(None, description=SEED)

    def to_request(self, item_id: str) -> SlateRequest:
        return SlateRequest(
            scenario=SIMILAR,
            user_id=self.user_id,
            session_id=self.session_id,
            context_items=(item_id,),
            n=self.n,
            exclude_items=frozenset(self.exclude_items),
            diversity=self.diversity,
            fields=tuple(self.fields),
            reasons=self.reasons,
            diagnostics=self.diagnostics,
            model_version=self.model_version,
            seed=self.seed,
        )


class EvidenceView(View):
    kind: Literal["history", "context", "taste", "cart", "profile", "query", "source", "attribute", "rule"] = Field(
        description="history: what was done with `item_id`. taste: the whole history together. cart: all context items together. attribute: what the item has in "
        "common with `item_id`. source: the candidate source that brought it. rule: of the slate, such as pin"
    )
    share: float = Field(
        ge=0, le=1, description="The part of the item's score that is gone without it; shares may overlap"
    )
    item_id: str | None = Field(None, description="Of history, context and attribute")
    event: str | None = Field(None, description="Of history: the strongest event on `item_id`")
    source: str | None = None
    attribute: str | None = Field(None, description="brand, category, tag, price or attributes.<name>")
    value: str | None = Field(None, description="Of `attribute`")
    words: str | None = Field(None, description="Of query: the words it was searched by")
    rule: str | None = None


class ReasonView(View):
    text: str = Field(
        description="In the locale of the request's context, else the user's, else English; plain text, not HTML"
    )
    evidence: list[EvidenceView] = Field(description="What the text tells of first, then by share")


class SlateItemView(View):
    item_id: str
    position: int = Field(description="From 1: the order to show")
    score: float
    sources: list[str] = Field(description="Which candidate sources brought it")
    cold: bool = Field(description="The live model has not seen an event of it")
    explored: bool
    fields: dict[str, Any] | None = Field(None, description="Only where `fields` was asked for")
    reason: ReasonView | None = Field(None, description="Only where `reasons` was asked for")


class SourceTraceView(View):
    source: str
    rank: int = Field(description="From 1")
    score: float = Field(description="In the source's own measure")
    part: float = Field(description="What it adds to the fused score")


class ItemTraceView(View):
    item_id: str
    fused: float | None = Field(
        description="Score of the fusion; null: not a candidate, a rule or a fallback put it there"
    )
    ranked: float | None = Field(description="Score of the ranking, before the slate's rules")
    score: float = Field(description="As the rules left it")
    propensity: float
    rules: list[str] = Field(description="That put it there or moved it, such as pin or boost")
    sources: list[SourceTraceView]


class OverlapView(View):
    first: str
    second: str
    num: int = Field(description="Candidates that both sources brought")


class RuleReportView(View):
    rule: str
    dropped: int = Field(description="Items it took away that earlier rules had left")
    moved: int = Field(description="Places that hold another item than without it")
    examples: list[str] = Field(description="Ids of some of those items")


class VersionsView(View):
    model: str | None
    model_catalogue_revision: int | None = Field(description="Of the catalogue that the model was trained with")
    catalogue_revision: int = Field(description="Of the catalogue that this slate was made from")
    scenario: str = Field(description="Hash of the scenario's content")


class DiagnosticsView(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "candidates": {"two_tower": 380, "item_cf": 212},
                    "dropped": {"unavailable": 12, "filter": 900, "purchased": 3},
                    "timings_ms": {
                        "state": 0.6,
                        "rules": 0.2,
                        "candidates": 5.1,
                        "ranking": 0.8,
                        "composition": 0.3,
                        "total": 7.4,
                    },
                    "weights": {"two_tower": 1.0, "item_cf": 0.4},
                    "fallbacks": [],
                    "num_items": 1200,
                    "num_allowed": 285,
                    "num_ranked": 285,
                    "in_slate": {"two_tower": 10, "item_cf": 7},
                    "overlaps": [{"first": "two_tower", "second": "item_cf", "num": 190}],
                    "rules": [{"rule": "purchased", "dropped": 3, "moved": 0, "examples": ["sku-4", "sku-7", "sku-9"]}],
                    "degraded": [],
                    "ranking": "fusion",
                    "versions": {
                        "model": "2026-01-31T12-00-00Z-ab12",
                        "model_catalogue_revision": 7,
                        "catalogue_revision": 9,
                        "scenario": "f0c1d2e3a4b59687",
                    },
                    "items": [
                        {
                            "item_id": "sku-1",
                            "fused": 0.81,
                            "ranked": 0.81,
                            "score": 0.83,
                            "propensity": 1.0,
                            "rules": ["boost"],
                            "sources": [{"source": "two_tower", "rank": 1, "score": 0.71, "part": 0.62}],
                        }
                    ],
                }
            ]
        }
    )

    candidates: dict[str, int] = Field(description="Source: how many of the ranked candidates it brought")
    dropped: dict[str, int] = Field(description="Hard rule: how many items it took away")
    timings_ms: dict[str, float] = Field(description="Stage: time")
    weights: dict[str, float] = Field(description="Source: weight used")
    fallbacks: list[str]
    num_items: int = Field(description="Items of the catalogue")
    num_allowed: int = Field(description="Those that the hard rules left: num_items less all that were dropped")
    num_ranked: int = Field(description="Candidates, after merging")
    in_slate: dict[str, int] = Field(
        description="Source or fallback step: how many items of the slate it brought, alone or with others"
    )
    overlaps: list[OverlapView] = Field(description="Pairs of sources, most in common first")
    rules: list[RuleReportView] = Field(
        description="What each rule did, hard ones first, in the order they were applied"
    )
    degraded: list[str]
    ranking: str | None = Field(description="What made the scores: ranker, fusion or rank_fusion; null without a model")
    versions: VersionsView
    items: list[ItemTraceView] = Field(description="In the order of the slate")


class InterpretedQueryView(View):
    text: str = Field(description="The words that are left to search by")
    filter: dict[str, Any] | None = Field(description="What the words demand; null: nothing")
    not_like: list[str] = Field(description="What is not wanted: items that read like it go down")


SLATE: dict[str, Any] = {
    "recommendation_id": "01JJX2M8Z6Q5T0V4W9Y1B3C7D2",
    "scenario": "home",
    "model_version": "2026-01-31T12-00-00Z-ab12",
    "variant": None,
    "items": [
        {
            "item_id": "sku-1",
            "position": 1,
            "score": 0.83,
            "sources": ["two_tower", "item_cf"],
            "cold": False,
            "explored": False,
            "fields": {"title": "Retrospot lunch box", "price": 4.95},
            "reason": {
                "text": "Because you looked at “Retrospot tea towel”",
                "evidence": [
                    {"kind": "history", "share": 0.62, "item_id": "sku-9", "event": "view"},
                    {"kind": "source", "share": 0.55, "source": "item_cf"},
                ],
            },
        }
    ],
    "fallbacks": [],
    "degraded": [],
    "next_cursor": "AbK9sXw1q2…",
}


class SlateView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [SLATE]})

    recommendation_id: str = Field(description="Send it with later feedback")
    scenario: str
    model_version: str | None = Field(description="null: served without a model, from fallbacks")
    variant: str | None
    items: list[SlateItemView] = Field(
        description="Fewer than n only if the catalogue, under the filter, holds no more"
    )
    fallbacks: list[str] = Field(description="Which steps filled the slate, such as popular")
    degraded: list[str] = Field(description="Which dependency was missing, such as user_state")
    next_cursor: str | None = Field(
        description="For POST /v1/recommendations/next within 30 minutes; null: no item is left that could follow"
    )
    interpreted_query: InterpretedQueryView | None = Field(None, description="Only where a query was given")
    diagnostics: DiagnosticsView | None = Field(None, description="Only where it was asked for")
