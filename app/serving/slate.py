"""A request for a slate and the slate itself, as the steps hand them on. HTTP twins live in `app.api.schemas`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.catalogue.item import User
from app.language.interpret import Interpretation
from app.scenarios.scenario import Boost
from app.serving.reasons.reason import Reason
from app.types import Attributes, Json


@dataclass(slots=True)
class SlateRequest:
    """As good as frozen, like `SlateItem`. user: a profile given inline, for this request only; wins over the stored one. n, diversity None:
    the scenario's.

    model_version None: the live one. seed: of everything that is drawn; None: by shopper, scenario and period.
    query: natural language.
    """

    scenario: str
    user_id: str | None = None
    session_id: str | None = None
    user: User | None = None
    context_items: tuple[str, ...] = ()
    n: int | None = None
    filter: Mapping[str, Json] | None = None
    boosts: tuple[Boost, ...] = ()
    exclude_items: frozenset[str] = frozenset()
    diversity: float | None = None
    fields: tuple[str, ...] = ()
    reasons: bool = False
    diagnostics: bool = False
    model_version: str | None = None
    context: Attributes = field(default_factory=dict)
    seed: int | None = None
    query: str | None = None


@dataclass(slots=True)
class SlateItem:
    """As good as frozen: that costs twice the time to make one, and every slate makes twenty."""

    item_id: str
    position: int  # 1-based
    score: float
    sources: tuple[str, ...]
    cold: bool  # the live model has not seen an event of it
    explored: bool = False
    propensity: float = 1.0  # that it stands here; recorded with the impression
    fields: Mapping[str, Json] = field(default_factory=dict)
    reason: Reason | None = None  # where reasons were asked for


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What one rule did to a slate. dropped: items it took away that earlier rules had left. moved: of the places asked for, how
    many hold another item than without it. examples: some of those items, only where diagnostics were asked for."""

    rule: str
    dropped: int = 0
    moved: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceTrace:
    """What one source said of an item: 1-based rank, score in its own measure, and what it adds to the fused score."""

    source: str
    rank: int
    score: float
    part: float


@dataclass(frozen=True, slots=True)
class ItemTrace:
    """fused, ranked: scores of the fusion and of the ranking, None for an item that was no candidate; score: as the rules left it.

    rules: that put it there or moved it."""

    item_id: str
    fused: float | None
    ranked: float | None
    score: float
    propensity: float
    rules: tuple[str, ...]
    sources: tuple[SourceTrace, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """num: candidates that both sources brought."""

    first: str
    second: str
    num: int


@dataclass(frozen=True, slots=True)
class Versions:
    """model_catalogue_revision: that of the model's items. scenario: hash of its content."""

    model: str | None
    model_catalogue_revision: int | None
    catalogue_revision: int
    scenario: str


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """candidates: source -> how many of the ranked candidates it brought. in_slate: source -> how many of those stand. dropped: hard
    rule -> how many items it took away; num_allowed is what they left of the catalogue's num_items. timings_ms: stage -> time.

    weights: source -> weight used. rules: what each did, hard ones first. ranking: what made the scores, None without a model."""

    candidates: Mapping[str, int]
    dropped: Mapping[str, int]
    timings_ms: Mapping[str, float]
    weights: Mapping[str, float]
    fallbacks: tuple[str, ...]
    num_items: int
    num_allowed: int
    num_ranked: int
    in_slate: Mapping[str, int]
    overlaps: tuple[Overlap, ...]
    rules: tuple[RuleReport, ...]
    degraded: tuple[str, ...]
    ranking: str | None
    versions: Versions
    items: tuple[ItemTrace, ...]


@dataclass(frozen=True, slots=True)
class Slate:
    recommendation_id: str
    scenario: str
    model_version: str | None  # None: served without a model (fallback sources only)
    items: tuple[SlateItem, ...]
    fallbacks: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    variant: str | None = None
    next_cursor: str | None = None  # None: no item is left that could follow
    diagnostics: Diagnostics | None = None
    interpreted_query: Interpretation | None = None
