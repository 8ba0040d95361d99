"""Errors of a memory become a framework's own, by the first row of its table that fits."""

from __future__ import annotations

import pytest

from seal_memory.errors import BusyError, InputError, SealMemoryError, UnknownIdError
from seal_memory.frameworks.errors import translate_errors

TABLE = ((UnknownIdError, KeyError), (InputError, TypeError))


@pytest.mark.parametrize(
    ("ours", "theirs"), [(UnknownIdError, KeyError), (InputError, TypeError), (BusyError, BusyError)]
)
def test_the_first_row_that_fits_gives_the_error_and_others_pass_on(
    ours: type[SealMemoryError], theirs: type[Exception]
) -> None:
    error = ours("no such boat")
    with pytest.raises(theirs, match="no such boat") as caught, translate_errors(TABLE):
        raise error
    assert caught.value is error or caught.value.__cause__ is error


def test_errors_of_others_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), translate_errors(TABLE):
        raise ZeroDivisionError
