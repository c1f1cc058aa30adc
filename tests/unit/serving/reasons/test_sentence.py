"""Which evidence a sentence tells of."""

import pytest

from app.serving.reasons.reason import Evidence
from app.serving.reasons.sentence import CLEAR_SHARE, leading

CLICK = Evidence("history", 0.4, item_id="pan", event="click")
FAINT = Evidence("history", CLEAR_SHARE / 2, item_id="pot", event="view")
TASTE = Evidence("taste", 0.9)
POPULAR = Evidence("source", 0.3, source="popular")
TOWER = Evidence("source", 0.8, source="two_tower")
PIN = Evidence("rule", 1.0, rule="pin")
BOOST = Evidence("rule", 0.5, rule="boost")
DISLIKE = Evidence("history", 0.6, item_id="drum", event="dislike")
PROFILE = Evidence("profile", 0.5)


@pytest.mark.parametrize(
    ("evidence", "lead"),
    [
        ([CLICK, TASTE, TOWER], CLICK),
        ([FAINT, TASTE, TOWER], TASTE),
        ([FAINT, TOWER], FAINT),
        ([FAINT, POPULAR], POPULAR),
        ([CLICK, POPULAR], CLICK),
        ([CLICK, PROFILE, TASTE], PROFILE),
        ([TASTE, PIN], PIN),
        ([CLICK, BOOST], CLICK),
        ([DISLIKE, POPULAR], POPULAR),
        ([TOWER], None),
        ([], None),
    ],
)
def test_the_strongest_cause_leads(evidence: list[Evidence], lead: Evidence | None) -> None:
    assert leading(evidence) == lead
