from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from opentelemetry.instrumentation.open_webui import OpenWebUIInstrumentor, SettingError
from opentelemetry.instrumentation.open_webui.money.price_file import (
    PriceFile,
    PriceFileError,
    parse,
)

GOOD = """\
currency: USD
prices:
  - model: gpt-*
    input_per_million: 2.5
    output_per_million: 10
  - model: helpdesk
    per_request: 0.01
  - model: team-*
    provider: ollama
    connection: http://gpu-1:11434
    input_per_million: 0
"""


def file_with(path: Path, text: str) -> PriceFile:
    path.write_text(text)
    file = PriceFile(str(path))
    file.load()
    return file


def test_a_good_file(tmp_path: Path) -> None:
    first, second, third = file_with(tmp_path / "p.yaml", GOOD).entries
    assert first.rates == {"input": Decimal("0.0000025"), "output": Decimal("0.00001")}
    assert second.rates == {"request": Decimal("0.01")}
    assert (third.provider, third.connection) == ("ollama", "http://gpu-1:11434")


BAD = [
    ("", "prices.yaml is empty: it must have the key prices"),
    ("- a", "line 1: the file must have keys: currency, prices"),
    ("currency: EUR\nprices: []", "line 1: currency is 'EUR'; it must be USD"),
    ("currency: USD", "line 1: prices must be a list of entries"),
    ("prices:\n  gpt: 1", "line 2: prices must be a list of entries"),
    ("price: []", "line 1: 'price' is not a key; there are currency, prices"),
    ("prices: []\nprices: []", "line 2: prices stands here twice"),
    ("prices:\n  - gpt-4o", "line 2: an entry of prices must have keys: model, provider,"),
    ("prices:\n  - per_image: 1", "line 2: an entry of prices must have the key model"),
    ("prices:\n  - model: a\n", "line 2: the entry has no price: it must have one of input_per"),
    (
        "prices:\n  - model: a\n    input_per_milion: 1",
        "line 3: 'input_per_milion' is not a key; there are model, provider, connection, input_per",
    ),
    (
        "prices:\n  - model: a\n    per_request: -1",
        "line 3: per_request is '-1'; it must be a number of USD from 0 to 1000000",
    ),
    ("prices:\n  - model: a\n    per_web_search: -1", "line 3: per_web_search is '-1'; it must be"),
    ("prices:\n  - model: a\n    input_audio_per_million: x", "line 3: input_audio_per_million is"),
    ("prices:\n  - model: a\n    cache_creation_1h: 1", "line 3: 'cache_creation_1h' is not a key"),
    ("prices:\n  - model: a\n    per_image: cheap", "line 3: per_image is 'cheap'; it must be a"),
    ("prices:\n  - model: a\n    per_image: .nan", "line 3: per_image is '.nan'; it must be a"),
    ("prices:\n  - model: a\n    per_image: yes", "line 3: per_image is 'yes'; it must be a"),
    ("prices:\n  - model: a\n    per_image: 1e9", "line 3: per_image is '1e9'; it must be a"),
    ("prices:\n  - model: a\n    per_image: [1]", "line 3: per_image is not a number; it must"),
    ("prices:\n  - model: gpt-[45]\n    per_image: 1", "line 2: model is 'gpt-[45]'; of patterns"),
    ("prices:\n  - model:\n    per_image: 1", "line 2: model must be a text"),
    ("prices:\n  - model: ''\n    per_image: 1", "line 2: model must be a text"),
    ("prices:\n  - model: *\n", "line 2: "),
    ("prices:\n  - model: a\n   per_image: 1", "line 3: "),
]


@pytest.mark.parametrize(("text", "problem"), BAD)
def test_a_bad_file_is_told_by_file_line_and_key(text: str, problem: str) -> None:
    with pytest.raises(PriceFileError) as raised:
        parse(text, "prices.yaml")
    assert str(raised.value).startswith("prices.yaml")
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("model", "picked", "provider", "url", "found"),
    [
        ("gpt-4o", None, "openai", "", "gpt-*"),
        ("gpt-4o", "gpt-4o", "openai", "", "gpt-*"),
        # A workspace model costs what its base model costs, unless it is named.
        ("gpt-4o", "frontdesk", "openai", "", "gpt-*"),
        ("gpt-4o", "helpdesk", "openai", "", "helpdesk"),
        ("llama3", "team-a", "ollama", "http://gpu-1:11434/api/chat", "team-*"),
        ("llama3", "team-a", "ollama", "http://gpu-2:11434/api/chat", None),
        ("llama3", "team-a", "openai", "http://gpu-1:11434/v1/chat/completions", None),
        ("GPT-4o", None, "openai", "", None),
        ("my-gpt-4o", None, "openai", "", None),
    ],
)
def test_whose_price_it_is(
    tmp_path: Path, model: str, picked: str | None, provider: str, url: str, found: str | None
) -> None:
    entry = file_with(tmp_path / "p.yaml", GOOD).find(model, picked, provider, url)
    assert (entry.model if entry else None) == found


def test_a_changed_file_is_read_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "p.yaml"
    file = file_with(path, GOOD)
    assert file.find("gpt-4o", None, "openai", "") is not None
    path.write_text("prices:\n  - model: gpt-4o\n    per_requst: 1")
    file.refresh()
    [record] = caplog.records
    assert "p.yaml, line 3: 'per_requst' is not a key" in record.getMessage()
    assert "stay in force" in record.getMessage()
    file.refresh()
    assert len(caplog.records) == 1
    assert len(file.entries) == 3
    path.unlink()
    file.refresh()
    assert len(file.entries) == 3
    path.write_text("prices:\n  - model: other\n    per_request: 1")
    file.refresh()
    assert file.find("gpt-4o", None, "openai", "") is None
    assert file.find("other", None, "openai", "") is not None


def test_a_file_that_was_never_good_leaves_no_price_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    file = PriceFile(str(path))
    with pytest.raises(PriceFileError, match=r"p\.yaml cannot be read"):
        file.load()
    assert not file.usable
    path.write_text("prices: []")
    file.refresh()
    assert file.usable


def test_at_the_start_a_bad_file_is_an_error_of_the_keyword_and_a_log_line_of_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("prices:\n  - model: a\n    per_image: -1")
    instrumentor = OpenWebUIInstrumentor()
    with pytest.raises(SettingError, match=r"price_file: .*p\.yaml, line 3: per_image is '-1'"):
        instrumentor.instrument(price_file=str(path))
    assert not caplog.records
    monkeypatch.setitem(os.environ, "OTEL_PYTHON_OPEN_WEBUI_PRICE_FILE", str(path))
    instrumentor._is_instrumented_by_opentelemetry = False
    instrumentor.instrument()
    instrumentor.uninstrument()
    [record] = caplog.records
    assert "line 3: per_image is '-1'" in record.getMessage()
    assert "no call has a price" in record.getMessage()
