"""How the usage reports of one answer add up, whatever their style."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.instrumentation.open_webui.answers.reports import Total, UsageReports
from opentelemetry.instrumentation.open_webui.answers.usage import Usage
from opentelemetry.instrumentation.open_webui.answers.wires import usage_of
from opentelemetry.instrumentation.open_webui.bounds import MOST_TOKENS

Report = tuple[int | None, int | None, int | None]
"""Input, output, and the choice beside which it stands."""


def total(reports: list[Report], said: float | None = None) -> Total:
    added = UsageReports()
    for given_, made, choice in reports:
        added.add(Usage(given_, made), choice)
    return added.total(said)


def sure(given_: int | None, made: int | None) -> Total:
    return Total(Usage(given_, made))


@pytest.mark.parametrize(
    ("reports", "said", "expected"),
    [
        # Once.
        ([], 9, Total(Usage())),
        ([(9, 5, None)], 400, sure(9, 5)),
        ([(9, 5, 0)], 400, sure(9, 5)),
        # The same report beside the last choice, and again beside none.
        ([(9, 5, 0), (9, 5, None)], 5, sure(9, 5)),
        # Running totals.
        ([(9, 1, 0), (9, 3, 0), (9, 3, 0), (9, 6, 0)], 6, sure(9, 6)),
        ([(9, 0, 0), (9, 6, 0)], 6, sure(9, 6)),
        # Totals of each choice (n = 2), one after the other, in turn, and all of them at the end.
        ([(1000, 1, 0), (1000, 2, 0), (1000, 1, 1), (1000, 2, 1)], 4, sure(1000, 4)),
        ([(1000, 1, 0), (1000, 1, 1), (1000, 2, 0), (1000, 2, 1)], 4, sure(1000, 4)),
        ([(100, 3, 0), (100, 4, 1), (100, 7, None)], 7, sure(100, 7)),
        (
            [(1000, made, choice) for choice, last in ((0, 200), (1, 199)) for made in range(1, last + 1)],
            400,
            sure(1000, 399),
        ),
        # Totals of all choices, told beside each.
        ([(100, 1, 0), (100, 2, 1), (100, 3, 0), (100, 4, 1)], 4, sure(100, 4)),
        # Increments, with the prompt once or each time, also where all of them are equal.
        ([(9, 3, 0), (0, 2, 0), (0, 4, 0)], 9, sure(9, 9)),
        ([(9, 1, 0), (None, 2, 0), (None, 4, 0)], 70, Total(Usage(9, 4), True)),
        ([(1000, 3, 0), (1000, 1, 0), (1000, 2, 0)], 6, sure(1000, 6)),
        ([(1000, 1, 0)] * 399, 400, sure(1000, 399)),
        ([(1000, 1, 0)] + [(0, 1, 0)] * 398, 400, sure(1000, 399)),
        # The same total again and again.
        ([(9, 120, 0)] * 40, 100, sure(9, 120)),
        # Either may be.
        ([(9, 2, 0)] * 2, 3, Total(Usage(9, 2), doubtful=True)),
        # Increments and their sum.
        ([(9, 1, 0), (0, 2, 0), (9, 3, 0)], 3, sure(9, 3)),
        # Zeros erase nothing, and give way.
        ([(9, 5, 0), (0, 0, None)], 5, sure(9, 5)),
        ([(0, 0, 0), (9, 5, None)], 5, sure(9, 5)),
        ([(0, 0, None)], 5, sure(0, 0)),
    ],
)  # fmt: skip
def test_each_style(reports: list[Report], said: float | None, expected: Total) -> None:
    assert total(reports, said) == expected


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(0, MOST_TOKENS),
            st.none() | st.integers(0, MOST_TOKENS),
            st.none() | st.integers(0, 300),
        )
    ),
    st.none() | st.floats(0, 1e7),
)
def test_no_total_is_beyond_what_the_text_or_a_single_report_bears_out(
    reports: list[Report], said: float | None
) -> None:
    found = total(reports, said).usage
    inputs = [given_ for given_, _, _ in reports if given_ is not None]
    assert found.input is None or found.input <= max(inputs)
    outputs = [made for _, made, _ in reports if made is not None]
    choices = max(1, len({choice for _, _, choice in reports if choice is not None}))
    if found.output is not None and said is not None:
        assert found.output <= max(*outputs, 0, 0) * choices + 4 * max(said, 8)
    assert found.output is None or found.output <= MOST_TOKENS


DETAILS = "prompt_tokens_details"


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        # Reasoning beside the output: the total says so, or that it cannot be otherwise.
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 18, "completion_tokens_details": {"reasoning_tokens": 3}}, Usage(10, 8, reasoning=3)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "completion_tokens_details": {"reasoning_tokens": 3}}, Usage(10, 5, reasoning=3)),
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}, Usage(20, 603)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 30}, Usage(10, 35, reasoning=30)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 3}, Usage(10, 5, reasoning=3)),
        # Caches by other names.
        ({"prompt_tokens": 19, "completion_tokens": 3, "cached_tokens": 12}, Usage(19, 3, 12)),
        ({"prompt_tokens": 19, "completion_tokens": 3, "prompt_cache_hit_tokens": 12, "prompt_cache_miss_tokens": 7}, Usage(19, 3, 12)),
        ({"completion_tokens": 3, "prompt_cache_hit_tokens": 12, "prompt_cache_miss_tokens": 7}, Usage(19, 3, 12)),
        ({"input_tokens": 99, "output_tokens": 3, "cache_creation_input_tokens": 40, "cache_read_input_tokens": 50}, Usage(99, 3, 50, 40)),
        ({"prompt_tokens": 99, "completion_tokens": 3, DETAILS: {"cached_tokens": 50, "cache_write_tokens": 40}}, Usage(99, 3, 50, 40)),
        ({"prompt_tokens": 99, "completion_tokens": 3, DETAILS: {"cached_tokens": 0}, "cached_tokens": 7}, Usage(99, 3, 7)),
        ({"input_tokens": 99, "output_tokens": 3, "input_tokens_details": {"cache_creation_tokens": 40}}, Usage(99, 3, None, 40)),
        # Input that leaves its cache out: the total says so, or that it cannot be otherwise.
        ({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 1050, "cached_tokens": 900}, Usage(1000, 50, 900)),
        ({"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1950, "cached_tokens": 900}, Usage(1900, 50, 900)),
        ({"prompt_tokens": 10, "completion_tokens": 50, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 90}, Usage(1000, 50, 900, 90)),
        # Both at once.
        ({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 1080, "cached_tokens": 900, "reasoning_tokens": 30}, Usage(1000, 80, 900, reasoning=30)),
        # Only halves, or only the total.
        ({"total_tokens": 9}, Usage(9)),
        ({"prompt_tokens": 9, "total_tokens": 9}, Usage(9)),
        ({"prompt_tokens": 9, "total_tokens": 14}, Usage(9, 5)),
        ({"completion_tokens": 5, "total_tokens": 14}, Usage(9, 5)),
        # Numbers in other clothes; zeros.
        ({"prompt_tokens": "9", "completion_tokens": 5.0}, Usage(9, 5)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 0, "input_tokens": 9, "completion_tokens": 0, "output_tokens": 5}, Usage(9, 5)),
        ({"prompt_tokens": [], "completion_tokens": {}, "total_tokens": True}, Usage()),
    ],
)  # fmt: skip
def test_what_is_counted_beside_input_and_output_is_in_them(
    reported: dict[str, Any], expected: Usage
) -> None:
    assert usage_of(reported) == expected
