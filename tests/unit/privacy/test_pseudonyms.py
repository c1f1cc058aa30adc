"""Pseudonyms: one for each id, readable with the secret alone."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from app.privacy.pseudonyms import Pseudonyms

IDS = Pseudonyms("a secret of the settings")
ID = st.text(st.characters(codec="utf-8", categories=("L", "M", "N", "P", "S", "Zs")), min_size=1, max_size=256)


@given(ID, ID)
def test_there_and_back(one: str, other: str) -> None:
    assert IDS.show(IDS.hide(one)) == one
    assert (IDS.hide(one) == IDS.hide(other)) == (one == other)
    assert IDS.hide(one) == Pseudonyms("a secret of the settings").hide(one), "in every process"
    assert IDS.show(IDS.hide(IDS.hide(one))) == IDS.hide(one)


def test_a_pseudonym_says_nothing_of_its_id() -> None:
    hidden = IDS.hide("u-4711")
    assert "4711" not in hidden
    assert b"4711" not in base64.urlsafe_b64decode(hidden[1:] + "==")
    assert len(hidden) == len(IDS.hide("u")) == len(IDS.hide("u-471100000000"))
    assert Pseudonyms("another secret, as long").hide("u-4711") != hidden


@given(ID)
def test_what_is_no_pseudonym_of_this_secret_stays_as_it_is(stored: str) -> None:
    assert IDS.show(stored) == stored
    foreign = Pseudonyms("another secret, as long").hide(stored)
    assert IDS.show(foreign) == foreign
