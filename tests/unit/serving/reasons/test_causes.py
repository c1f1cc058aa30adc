"""What may have carried a slate, and the request without it."""

from datetime import UTC, datetime

import pytest

from app.catalogue.item import Item
from app.catalogue.records import frame_of
from app.feedback.state import HistoryEntry, UserState
from app.retrieval.columns import Columns
from app.scenarios.defaults import READY_MADE
from app.serving.catalogue_view import CatalogueView
from app.serving.live import LiveSnapshot
from app.serving.reasons.causes import Cause, item_causes, other_causes, without
from app.serving.rules import Asked
from app.serving.slate import SlateRequest
from app.types import Float32Array

IDS = ("pan", "pot", "rod")


class EveryItemHasAVector(LiveSnapshot):
    """Without a model no item has one, and none could be a cause."""

    def history_row(self, item_id: str) -> int | None:
        return self.catalogue.row(item_id)


LIVE = EveryItemHasAVector(
    CatalogueView(
        1, Columns.from_frame(frame_of([Item(i, i) for i in IDS])), IDS, {i: row for row, i in enumerate(IDS)}
    )
)


def asked(
    *events: tuple[str, str], viewed: tuple[str, ...] = (), personal: bool = True, profile_T: Float32Array | None = None
) -> Asked:
    history = tuple(HistoryEntry(item_id, kind, float(n), f"e{n}") for n, (item_id, kind) in enumerate(events))
    request = SlateRequest("home", user_id="anna", context_items=viewed)
    state, now = UserState(history, purchased={"pan": 1.0}), datetime(2026, 1, 31, tzinfo=UTC)
    return Asked(request, READY_MADE["home"], None, None, state, profile_T, personal, now, 10)


def test_events_on_one_item_are_one_cause_by_the_strongest() -> None:
    events = [("pan", "view"), ("rod", "click"), ("pan", "purchase"), ("pan", "click"), ("gone", "click")]
    assert item_causes(asked(*events), LIVE) == [Cause("history", "pan", "purchase"), Cause("history", "rod", "click")]


def test_a_viewed_item_is_one_cause_with_its_events() -> None:
    both = asked(("pan", "view"), ("rod", "click"), viewed=("pan", "pot", "unknown"))
    causes = item_causes(both, LIVE)
    assert {(c.kind, c.item_id, c.event) for c in causes} == {
        ("context", "pot", ""), ("context", "pan", "view"), ("history", "rod", "click"),
    }  # fmt: skip
    alone = without(both, Cause("context", "pan", "view"))
    assert alone.request.context_items == ("pot", "unknown")
    assert [entry.item_id for entry in alone.state.history] == ["rod"]


def test_without_an_item_all_of_its_events_are_gone_and_nothing_else() -> None:
    left = without(
        asked(("pan", "view"), ("rod", "click"), ("pan", "purchase"), viewed=("pot",)), Cause("history", "pan")
    )
    assert [entry.item_id for entry in left.state.history] == ["rod"]
    assert left.request.context_items == ("pot",)
    assert left.state.purchased == {"pan": 1.0}  # a rule's matter, not taste


def test_the_whole_history_is_a_cause_where_it_is_more_than_one_item() -> None:
    one, two = asked(("pan", "view")), asked(("pan", "view"), ("rod", "view"))
    assert other_causes(one, item_causes(one, LIVE)) == []
    assert other_causes(two, item_causes(two, LIVE)) == [Cause("taste")]
    assert without(two, Cause("taste")).state.history == ()


def test_a_cart_of_several_items_is_a_cause_beside_each_of_them() -> None:
    both = asked(("pan", "view"), ("rod", "click"), viewed=("pan", "pot"))
    assert Cause("cart") in other_causes(both, item_causes(both, LIVE))
    one = asked(("rod", "click"), viewed=("pan",))
    assert Cause("cart") not in other_causes(one, item_causes(one, LIVE))
    left = without(both, Cause("cart"))
    assert left.request.context_items == ()
    assert [entry.item_id for entry in left.state.history] == ["rod"]


@pytest.mark.parametrize("viewed", [(), ("pot",)])
def test_without_consent_no_event_is_a_cause(viewed: tuple[str, ...]) -> None:
    strange = asked(("pan", "view"), ("pot", "view"), ("rod", "view"), viewed=viewed, personal=False)
    causes = item_causes(strange, LIVE)
    assert causes == [Cause("context", item_id) for item_id in viewed]
    assert other_causes(strange, causes) == []
