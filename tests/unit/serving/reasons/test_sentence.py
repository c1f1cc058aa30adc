"""Which evidence a sentence tells of."""

from dataclasses import replace

import pytest

from app.serving.reasons.reason import Evidence
from app.serving.reasons.sentence import CLEAR_SHARE, LEAST_LEADING, LEAST_SHARE, leading

CLICK = Evidence("history", 0.4, item_id="pan", event="click")
FAINT = Evidence("history", CLEAR_SHARE / 2, item_id="pot", event="view")
FAINT_TOO = Evidence("history", CLEAR_SHARE / 4, item_id="rod", event="view")
TRACE = Evidence("history", LEAST_LEADING / 2, item_id="lid", event="view")
VIEWED = Evidence("context", LEAST_SHARE, item_id="bowl")
GLANCED = Evidence("context", LEAST_SHARE / 2, item_id="bowl")
UNPOPULAR = Evidence("source", LEAST_SHARE / 2, source="popular")
CART = Evidence("cart", 0.8)
TASTE = Evidence("taste", 0.9)
POPULAR = Evidence("source", 0.3, source="popular")
TOWER = Evidence("source", 0.8, source="two_tower")
PIN = Evidence("rule", 1.0, rule="pin")
BOOST = Evidence("rule", 0.5, rule="boost")
DISLIKE = Evidence("history", 0.6, item_id="drum", event="dislike")
PROFILE = Evidence("profile", 0.5)
VAGUE = Evidence("profile", CLEAR_SHARE / 2)


@pytest.mark.parametrize(
    ("evidence", "lead"),
    [
        ([CLICK, TASTE, TOWER], CLICK),
        ([FAINT, FAINT_TOO, TASTE, TOWER], FAINT),
        ([FAINT, replace(FAINT, item_id="rod"), TASTE, TOWER], TASTE),
        ([TRACE, TASTE], TASTE),
        ([VIEWED, TASTE], VIEWED),
        ([GLANCED, TOWER], None),
        ([UNPOPULAR, TOWER], None),
        ([FAINT, TOWER], None),
        ([FAINT, POPULAR], POPULAR),
        ([FAINT, FAINT_TOO, TASTE, POPULAR], FAINT),
        ([CLICK, POPULAR], CLICK),
        ([CLICK, PROFILE, TASTE], PROFILE),
        ([TRACE, VAGUE, TASTE], TASTE),
        ([TRACE, GLANCED, TASTE], TASTE),
        ([VAGUE, TOWER], None),
        ([VIEWED, CART], VIEWED),
        ([GLANCED, CART, TOWER], CART),
        ([TRACE, CART, replace(TASTE, share=0.3)], CART),
        ([TRACE, CART, TASTE], TASTE),
        ([TASTE, PIN], PIN),
        ([CLICK, BOOST], CLICK),
        ([DISLIKE, POPULAR], POPULAR),
        ([TOWER], None),
        ([], None),
    ],
)
def test_the_strongest_cause_leads(evidence: list[Evidence], lead: Evidence | None) -> None:
    assert leading(evidence) == lead


def test_an_item_that_was_seen_before_says_so_however_faint() -> None:
    assert leading([TRACE, TASTE], "lid") == TRACE
    assert leading([TRACE, TASTE], "pan") == TASTE
