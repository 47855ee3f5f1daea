"""Property tests depend on what is true, not on how busy the machine is."""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fuzz", settings.get_profile("any machine"), max_examples=20_000)
settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    """Let `gc.collect()` in tests look at what they made, and not at all that was imported."""
    gc.collect()
    gc.freeze()
