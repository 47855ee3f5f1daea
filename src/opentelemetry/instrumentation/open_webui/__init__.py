"""Who uses which model of Open WebUI, from where, and how much: spans, metrics and usage events.

Usage
-----

With a shell, beside Open WebUI, without a line of code:

.. code-block:: sh

    pip install opentelemetry-instrumentation-open-webui
    export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317
    opentelemetry-instrument open-webui serve

By hand, before or after Open WebUI is imported:

.. code-block:: python

    from opentelemetry.instrumentation.open_webui import OpenWebUIInstrumentor

    OpenWebUIInstrumentor().instrument()

Every call to a model becomes a span, counts in the ``open_webui.usage.*`` and
``open_webui.group.*`` metrics, and one ``open_webui.usage`` event, tagged with user, groups, model
and source. The names are a contract: ``docs/telemetry.md``. Prompts, answers, keys, cookies and
headers are never recorded.

Settings
--------

Keywords of :meth:`OpenWebUIInstrumentor.instrument`, or environment variables with the prefix
``OTEL_PYTHON_OPEN_WEBUI_``: see :class:`~.settings.Settings`.

API
---
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import wrapt
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from . import complaints
from .guard import guarded
from .settings import SettingError, Settings
from .version import __version__

if TYPE_CHECKING:
    from .host.patching import Target
    from .ledger.ledger import Ledger, Off
    from .limits.budget import Budget
    from .money.price_file import PriceFile

_logger = logging.getLogger(__name__)
_EXTRA = "Install what it needs: pip install 'opentelemetry-instrumentation-open-webui[ledger]'."

__all__ = ["OpenWebUIInstrumentor", "SettingError", "__version__"]


class OpenWebUIInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Instruments Open WebUI in this process.

    ``instrument()`` takes ``tracer_provider``, ``meter_provider`` and ``logger_provider`` (the
    global ones by default) and every field of :class:`~.settings.Settings` as a keyword.

    Raises:
        SettingError: From ``instrument()``, if a keyword holds what it may not.
    """

    _patch: Any = None
    _patcher: Any = None
    _runtime: Any = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Require nothing: Open WebUI's image has no metadata of the `open-webui` distribution."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        complaints.listen()
        settings = Settings.load(kwargs)
        prices = _price_file(settings.price_file, strict="price_file" in kwargs)
        patch = self._patch = functools.partial(self._install, settings, prices, kwargs)
        # A program that never imports Open WebUI should not load what only that needs.
        wrapt.register_post_import_hook(
            lambda _: patch() if self._patch is patch else None, "open_webui"
        )

    @guarded
    def _install(
        self, settings: Settings, prices: PriceFile | None, kwargs: dict[str, Any]
    ) -> None:
        from .host.patching import Patcher
        from .host.surfaces import TARGETS

        within, before = _doors(settings)
        targets = (*within, *TARGETS, *before, *_beside(_screens(settings)))
        self._patcher = Patcher(
            targets, functools.cache(lambda: self._start(settings, prices, kwargs))
        )
        self._patcher.install()

    def _start(self, settings: Settings, prices: PriceFile | None, kwargs: dict[str, Any]) -> Any:
        from .answers.estimates import Estimator
        from .calls.accounting import Accountant
        from .host.compat import base_urls, group_names, prefixes
        from .host.connections import Connections
        from .host.groups import Groups
        from .host.runtime import Runtime
        from .money.price_file import PriceFile
        from .money.pricing import Prices
        from .telemetry.telemetry import Telemetry

        self._runtime = Runtime(
            settings,
            Telemetry(
                settings,
                kwargs.get("tracer_provider"),
                kwargs.get("meter_provider"),
                kwargs.get("logger_provider"),
                prices,
            ),
            Groups(
                lambda user_ids: group_names(user_ids, settings.inherited_groups),
                settings.groups_cache_seconds,
            ),
            Connections(base_urls, prefixes),
            Accountant(
                Prices(prices or PriceFile()), Estimator() if settings.estimate_usage else None
            ),
            ledger := _ledger(settings),
            _limits(settings, ledger),
        )
        return self._runtime

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patcher is not None:
            self._patcher.remove()
        if self._runtime is not None:
            self._runtime.active = False
            self._runtime.close()
        self._patch = self._patcher = self._runtime = None
        complaints.stop()


def _screens(settings: Settings) -> tuple[Target, ...]:
    if settings.ledger == "false" or not settings.screens:
        return ()
    from .host.surfaces import screens, usage

    return (*screens.TARGETS, *usage.TARGETS)


def _doors(settings: Settings) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
    """Return what stands within and before the wrappers of what calls models."""
    if not settings.limits:
        return (), ()
    from .host.surfaces import limits

    return _beside(limits.WITHIN), _beside(limits.BEFORE)


def _beside(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    return tuple(replace(target, is_path=False) for target in targets)


def _ledger(settings: Settings) -> Ledger | Off:
    from .host import compat
    from .ledger.ledger import Ledger, Off

    if settings.ledger == "false":
        return Off()
    try:
        from .ledger.beside import jobs
        from .ledger.place import of_setting
    except ImportError as error:
        _logger.error("Open WebUI instrumentation: there is no ledger: %s. %s", error, _EXTRA)
        return Off()
    return Ledger(
        lambda: of_setting(settings.ledger, compat.stores()),
        compat.group_id,
        jobs(compat.stores, settings.ledger_days),
        settings.shutdown_seconds,
    )


def _limits(settings: Settings, ledger: Ledger | Off) -> Budget | None:
    if not settings.limits:
        return None
    from .ledger.ledger import Ledger

    if not isinstance(ledger, Ledger):
        _logger.error("Open WebUI instrumentation: nobody is limited: there is no ledger.")
        return None
    from .limits.budget import Budget

    is_closed = settings.limits_fail == "closed"
    return Budget(ledger, file=settings.limits_file, is_closed=is_closed)


def _price_file(path: str, *, strict: bool) -> PriceFile | None:
    if not path:
        return None
    from .money.price_file import PriceFile, PriceFileError

    file = PriceFile(path)
    try:
        file.load()
    except PriceFileError as error:
        if strict:
            raise SettingError(f"price_file: {error}") from None
        _logger.error("Open WebUI instrumentation: %s. %s", error, file.without())
    return file
