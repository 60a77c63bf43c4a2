"""The text form of options."""

from __future__ import annotations

import pytest

import heapledger
from heapledger import options


def test_the_text_form_is_read_back() -> None:
    values = {"scope": "explicit", "json": "/odd:path/%p.json", "check": "quarantine,redzone"}
    text = options.option_text(values)
    assert text == r"scope=explicit:json=/odd\:path/%p.json:check=quarantine,redzone"
    assert options.parsed(text) == values


def test_session_options_are_spelled_as_the_library_reads_them() -> None:
    chosen = options.session_options("foreign", ("quarantine", "redzone"), "boundary")
    assert options.option_text(chosen) == (
        "scope=foreign:check=quarantine,redzone:native_stacks=boundary"
    )
    assert options.session_options("explicit", (), "off")["check"] == "none"
    assert options.session_options("explicit", "redzone", "off")["check"] == "redzone"


@pytest.mark.parametrize(
    ("scope", "checks", "stacks", "named"),
    [
        ("everything", (), "off", "everything"),
        ("explicit", ("redzones",), "off", "redzones"),
        ("explicit", (), "some", "some"),
    ],
)
def test_unknown_names_are_refused_with_those_that_are_known(
    scope: str, checks: tuple[str, ...], stacks: str, named: str
) -> None:
    with pytest.raises(heapledger.UsageError, match=f"{named}.*known are"):
        options.session_options(scope, checks, stacks)
