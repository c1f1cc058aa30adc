"""Which items a slate may hold: the hard rules, as one mask over the catalogue, each counting what it took away.

Applied before every top-k, so a rare filter or a long list of purchases still leaves a full slate.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache

import numpy as np

from app.catalogue.item import Item
from app.errors import Invalid
from app.feedback.state import UserState
from app.retrieval.filters import Filter, parse_filter
from app.scenarios.scenario import Scenario
from app.serving.catalogue_view import NOWHERE, CatalogueView
from app.serving.queries import AskedWords
from app.serving.slate import RuleReport, SlateRequest
from app.serving.trends import NO_TREND, Trend
from app.types import BoolArray, Float32Array, Int64Array, Json

SECONDS_PER_DAY = 86_400.0
SEEN = "seen"
FADED = 0.05  # of a count: impressions fade from the moment they were made, so three just now are 2.99…
NO_ROWS: Int64Array = np.empty(0, np.int64)
NUM_EXAMPLES = 5  # of the items that a rule dropped or moved


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with everything that is known about it before a row is looked at.

    personal False: the shopper did not agree to personal slates; only what was bought is taken from the state. words: what was asked
    for in natural language, None where nothing was. trend: what sells now.
    """

    request: SlateRequest
    scenario: Scenario
    filter: Filter | None
    scenario_filter: Filter | None
    state: UserState
    profile_T: Float32Array | None
    personal: bool
    now: datetime
    n: int
    words: AskedWords | None = None
    trend: Trend = NO_TREND


@dataclass(frozen=True, slots=True)
class Base:
    """What availability and filters leave for everybody who asks alike. allowed_R: bool [R], not to be written to; num_allowed of it."""

    allowed_R: BoolArray
    num_allowed: int
    reports: tuple[RuleReport, ...]


@dataclass(slots=True)
class Admission:
    """base: before this shopper's own exclusions. own_rows: what those took away of it, each row once. reports: of every hard rule, in the
    order they were applied. lifted: rules that would have left nothing and were not applied."""

    base: Base
    own_rows: Int64Array
    reports: tuple[RuleReport, ...]
    lifted: tuple[str, ...] = ()
    _allowed_R: BoolArray | None = field(default=None, init=False, repr=False)

    @property
    def allowed_R(self) -> BoolArray:
        """bool [R], rows of the view, not to be written to. Made when somebody asks: most slates need only what it is made of."""
        if self._allowed_R is None:
            self._allowed_R = self.base.allowed_R.copy()
            self._allowed_R[self.own_rows] = False
        return self._allowed_R

    @property
    def num_allowed(self) -> int:
        return self.base.num_allowed - len(self.own_rows)

    def among(self, listed_R: BoolArray) -> Admission:
        """Of these rows alone."""
        allowed_R = self.base.allowed_R & listed_R
        base = replace(self.base, allowed_R=allowed_R, num_allowed=int(np.count_nonzero(allowed_R)))
        return replace(self, base=base, own_rows=self.own_rows[listed_R[self.own_rows]])

    @property
    def dropped(self) -> Mapping[str, int]:
        """Rule -> how many items it took away that earlier rules had left."""
        return {report.rule: report.dropped for report in self.reports}


class Gate:
    """Admits the requests that are answered together: those with the same filters share one `Base`."""

    def __init__(self, view: CatalogueView) -> None:
        self._view = view
        self._bases: dict[Hashable, Base] = {}

    def admit(self, asked: Asked) -> Admission:
        """Raises Invalid("filter_context_item_missing")."""
        base, view = self._base(asked), self._view
        reports, own = list(base.reports), set[int]()
        for rule, item_ids in _exclusions(asked):
            gone = self._left(base, item_ids, own)
            own.update(gone)
            reports.append(report_drops(rule, gone, asked, view) if gone else _nothing(rule))
        seen = self._left(base, _seen(asked), own)
        lifted: tuple[str, ...] = ()
        if len(seen) == base.num_allowed - len(own) > 0:  # a slate of what was seen is better than none
            lifted = (SEEN,)
        else:
            own.update(seen)
            reports.append(report_drops(SEEN, seen, asked, view) if seen else _nothing(SEEN))
        own_rows = np.fromiter(own, np.int64, len(own)) if own else NO_ROWS
        return Admission(base, own_rows, tuple(reports), lifted)

    def _left(self, base: Base, item_ids: Collection[str], own: set[int]) -> list[int]:
        """Rows of those ids that nothing has taken away before, rising."""
        if not item_ids:
            return []
        rows = set(self._view.places(item_ids)) - own
        rows.discard(NOWHERE)
        rising = np.asarray(sorted(rows), np.int64)
        left: list[int] = rising[base.allowed_R[rising]].tolist()
        return left

    def _base(self, asked: Asked) -> Base:
        words = asked.words.filter if asked.words else None
        filters = (asked.scenario_filter, asked.filter, words)
        viewed = asked.request.context_items[:1] if any(filters) else ()
        key = (repr(filters), viewed, asked.scenario.name, asked.request.diagnostics)
        if key not in self._bases:
            self._bases[key] = filtered(asked, self._view)
        return self._bases[key]


def admit(asked: Asked, view: CatalogueView) -> Admission:
    """One request by itself. Raises as `Gate.admit`."""
    return Gate(view).admit(asked)


def filtered(asked: Asked, view: CatalogueView) -> Base:
    """Raises Invalid("filter_context_item_missing")."""
    allowed_R, num = view.visible(asked.now), view.num_visible(asked.now)
    reports = [RuleReport("unavailable", view.num_items - num)]
    for rule, mask_R in _masks(asked, view):
        gone = np.flatnonzero(allowed_R & ~mask_R)
        allowed_R = allowed_R & mask_R
        num -= len(gone)
        reports.append(report_drops(rule, gone.tolist(), asked, view))
    return Base(allowed_R, num, tuple(reports))


def matching_rows(
    spec: Mapping[str, Json], asked: Asked, view: CatalogueView, loc: tuple[str | int, ...] | None
) -> BoolArray:
    """bool [R] for a soft rule. loc: where the caller wrote the filter; None: it is the scenario's, and without the viewed item it
    asks for it matches nothing. Raises Invalid("filter_context_item_missing") for a caller's."""
    try:
        return view.matching(parse_filter(spec, loc or ("filter",)), asked.now, _viewed_item(asked, view))
    except Invalid as error:
        if loc is None and error.code == "filter_context_item_missing":
            return np.zeros(len(view), np.bool_)
        raise


def report_drops(rule: str, rows: Sequence[int], asked: Asked, view: CatalogueView) -> RuleReport:
    return RuleReport(rule, dropped=len(rows), examples=examples_of(rows, asked, view))


@cache
def _nothing(rule: str) -> RuleReport:
    """Of a hard rule that took nothing away: most of them, for most slates."""
    return RuleReport(rule)


def examples_of(rows: Sequence[int], asked: Asked, view: CatalogueView) -> tuple[str, ...]:
    """Ids of the first few rows, if anybody will read them."""
    return tuple(view.id_at(row) for row in rows[:NUM_EXAMPLES]) if asked.request.diagnostics else ()


def _masks(asked: Asked, view: CatalogueView) -> Iterable[tuple[str, BoolArray]]:
    viewed = _viewed_item(asked, view)
    if asked.scenario_filter is not None:
        try:
            yield "scenario_filter", view.matching(asked.scenario_filter, asked.now, viewed)
        except Invalid as error:
            raise Invalid(
                f"scenario {asked.scenario.name!r} needs a viewed item; name it in context_items",
                code=error.code,
                loc=("context_items",),
            ) from error
    if asked.filter is not None:
        yield "filter", view.matching(asked.filter, asked.now, viewed)
    if asked.words is not None and asked.words.filter is not None:
        yield "query", view.matching(asked.words.filter, asked.now, viewed)


def _viewed_item(asked: Asked, view: CatalogueView) -> Item | None:
    """The first context item; one the catalogue does not know has no properties."""
    if not asked.request.context_items:
        return None
    item_id = asked.request.context_items[0]
    return view.item(item_id) or Item(item_id)


def _exclusions(asked: Asked) -> Iterable[tuple[str, Collection[str]]]:
    days = asked.scenario.exclude.purchased_days
    if days > 0:
        since = asked.now.timestamp() - days * SECONDS_PER_DAY
        yield "purchased", [item_id for item_id, at in asked.state.purchased.items() if at >= since]
    if asked.personal:
        yield "dismissed", asked.state.dismissed
    if asked.scenario.exclude.context_items:
        yield "context_items", asked.request.context_items
    yield "exclude_items", asked.request.exclude_items


def _seen(asked: Asked) -> list[str]:
    """What was shown to this shopper too often without a click."""
    enough = asked.scenario.exclude.seen_impressions
    if enough <= 0 or not asked.personal:
        return []
    enough -= FADED
    return [item_id for item_id, times in asked.state.seen.items() if times >= enough]
