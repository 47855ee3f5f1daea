"""What is kept of complaints for the doctor takes nothing from the log."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMPLAIN = """
import logging
from opentelemetry.instrumentation.open_webui import complaints
complaints.listen()
{setup}
logging.getLogger("opentelemetry.instrumentation.open_webui.host.any").warning("this is wrong")
assert complaints.complaints.warnings() == ["this is wrong"]
"""


@pytest.mark.parametrize("setup", ["", "logging.basicConfig()"])
def test_a_complaint_is_shown_once_with_logging_set_up_and_without(setup: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPLAIN.format(setup=setup)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.count("this is wrong") == 1
