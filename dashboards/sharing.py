"""What Grafana's own *Export for sharing* adds: data sources that *Import* asks for, and what is needed.

Only *Import* fills these in; a provisioned dashboard has to be without them.
"""

from __future__ import annotations

import copy
from typing import Any, Final

_GRAFANA: Final = "10.4.0"
_SOURCES: Final = {"prometheus": "Prometheus", "jaeger": "Jaeger"}
_PANELS: Final = {
    "alertlist": "Alert list",
    "bargauge": "Bar gauge",
    "stat": "Stat",
    "table": "Table",
    "text": "Text",
    "timeseries": "Time series",
}


def shared(board: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard as it is to be imported by hand.

    Args:
        board: Its JSON. It stays as it is.
    """
    made = copy.deepcopy(board)
    variables = [one for one in made["templating"]["list"] if one["type"] == "datasource"]
    for variable in variables:
        asked = f"${{{_input(variable['query'])}}}"
        variable["current"] = {"text": asked, "value": asked}
    kinds = [variable["query"] for variable in variables]
    used = {panel["type"] for panel in made["panels"]} & set(_PANELS)
    return {
        "__inputs": [_asks_for(kind) for kind in kinds],
        "__elements": {},
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": _GRAFANA},
            *(_needs("datasource", kind, _SOURCES[kind], "1.0.0") for kind in sorted(kinds)),
            *(_needs("panel", kind, _PANELS[kind], "") for kind in sorted(used)),
        ],
        **made,
    }


def _input(kind: str) -> str:
    return f"DS_{kind.upper()}"


def _asks_for(kind: str) -> dict[str, str]:
    return {
        "name": _input(kind), "label": _SOURCES[kind], "description": "", "type": "datasource",
        "pluginId": kind, "pluginName": _SOURCES[kind],
    }  # fmt: skip


def _needs(kind: str, id_: str, name: str, version: str) -> dict[str, str]:
    return {"type": kind, "id": id_, "name": name, "version": version}
