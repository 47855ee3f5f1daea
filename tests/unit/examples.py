"""How many examples a property is tried with."""

from __future__ import annotations

from hypothesis import settings

few = settings(max_examples=settings().max_examples // 4)
"""For a property that is tried in many ways, or zones, each with examples of its own."""
