"""Which items a slate may hold: the hard rules, as one mask over the catalogue, each counting what it took away.

Applied before every top-k, so a rare filter or a long list of purchases still leaves a full slate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from app.catalogue.item import Item
from app.errors import Invalid
from app.feedback.state import UserState
from app.retrieval.filters import Filter
from app.scenarios.scenario import Scenario
from app.serving.catalogue_view import CatalogueView
from app.serving.slate import RuleReport, SlateRequest
from app.types import BoolArray, Float32Array, Int64Array

SECONDS_PER_DAY = 86_400.0
NUM_EXAMPLES = 5  # of the items that a rule dropped or moved


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with everything that is known about it before a row is looked at.

    personal False: the shopper did not agree to personal slates; only what was bought is taken from the state.
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


@dataclass(frozen=True, slots=True)
class Admission:
    """allowed_R: bool [R], rows of the view. reports: of every hard rule, in the order they were applied."""

    allowed_R: BoolArray
    reports: tuple[RuleReport, ...]

    @property
    def dropped(self) -> Mapping[str, int]:
        """Rule -> how many items it took away that earlier rules had left."""
        return {report.rule: report.dropped for report in self.reports}


def admit(asked: Asked, view: CatalogueView) -> Admission:
    """Raises Invalid("filter_context_item_missing")."""
    allowed_R = view.visible(asked.now)
    reports = [RuleReport("unavailable", view.num_items - int(np.count_nonzero(allowed_R)))]
    for rule, mask_R in _masks(asked, view):
        gone = np.flatnonzero(allowed_R & ~mask_R)
        allowed_R &= mask_R
        reports.append(report_drops(rule, gone, asked, view))
    for rule, item_ids in _exclusions(asked):
        rows = np.unique(view.rows(item_ids))
        gone = rows[allowed_R[rows]]
        allowed_R[rows] = False
        reports.append(report_drops(rule, gone, asked, view))
    return Admission(allowed_R, tuple(reports))


def report_drops(rule: str, rows: Int64Array, asked: Asked, view: CatalogueView) -> RuleReport:
    return RuleReport(rule, dropped=len(rows), examples=examples_of(rows, asked, view))


def examples_of(rows: Int64Array, asked: Asked, view: CatalogueView) -> tuple[str, ...]:
    """Ids of the first few rows, if anybody will read them."""
    return tuple(view.id_at(row) for row in rows[:NUM_EXAMPLES].tolist()) if asked.request.diagnostics else ()


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


def _viewed_item(asked: Asked, view: CatalogueView) -> Item | None:
    """The first context item; one the catalogue does not know has no properties."""
    if not asked.request.context_items:
        return None
    item_id = asked.request.context_items[0]
    return view.item(item_id) or Item(item_id)


def _exclusions(asked: Asked) -> Iterable[tuple[str, Iterable[str]]]:
    days = asked.scenario.exclude.purchased_days
    if days > 0:
        since = asked.now.timestamp() - days * SECONDS_PER_DAY
        yield "purchased", [item_id for item_id, at in asked.state.purchased.items() if at >= since]
    if asked.scenario.exclude.context_items:
        yield "context_items", asked.request.context_items
    yield "exclude_items", asked.request.exclude_items
