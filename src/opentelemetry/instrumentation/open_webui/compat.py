"""Every difference between Open WebUI's versions, and the few facts that we ask of it.

Nothing here imports Open WebUI by itself: these functions run when Open WebUI calls a model, and
then it is there.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

from opentelemetry.instrumentation.utils import suppress_instrumentation


async def group_names(user_id: str) -> list[str]:
    """Return the names of the groups that the user is directly in.

    Nothing of the lookup is traced: it is ours, not the request's.
    """
    groups = sys.modules["open_webui.models.groups"].Groups
    with suppress_instrumentation():
        found: Any = groups.get_groups_by_member_id(user_id)
        if inspect.isawaitable(found):  # synchronous before 0.9
            found = await found
    return [group.name for group in found]
