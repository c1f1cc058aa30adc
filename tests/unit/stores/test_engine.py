"""What is told of a database that breaks while it talks."""

from __future__ import annotations

import asyncpg
import pytest

from app.errors import Unavailable
from app.stores.postgres.engine import DRIVER_ERRORS, lost_database_is_unavailable


@pytest.mark.parametrize(
    "error", [*DRIVER_ERRORS, asyncpg.ConnectionDoesNotExistError, ConnectionResetError, TimeoutError]
)
def test_a_database_that_was_lost_is_unavailable(error: type[Exception]) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"), lost_database_is_unavailable():
        raise error("cannot switch to state 15; another operation (2) is in progress")


def test_a_fault_of_our_own_is_not_blamed_on_the_database() -> None:
    with pytest.raises(KeyError), lost_database_is_unavailable():
        raise KeyError("row")
