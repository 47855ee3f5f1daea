"""Puts the repository's address into the package's metadata: all of the build that is ours.

On an index a README has no files beside it, so its relative links become addresses: of the version
that is built, because that is what they describe.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

README: Final = "README.md"
# `](docs/numbers.md#costs)`, and neither `](#install)` nor `](https://…)`.
_RELATIVE_LINK: Final = re.compile(r"(?<=\]\()(?![a-z]+:|#)(?=[^)\s]+\))")
_RELATIVE_PICTURE: Final = re.compile(r"(!\[[^]]*\]\()(?![a-z]+:)(?=[^)\s]+\))")


class CustomMetadataHook(MetadataHookInterface):
    """Sets ``urls`` and ``readme``; the repository stands in ``pyproject.toml``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add what depends on the repository's address."""
        repository, tag = self.config["repository"], f"v{metadata['version']}"
        metadata["urls"] = {
            "Homepage": repository,
            "Documentation": f"{repository}/tree/{tag}/docs",
            "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
            "Issues": f"{repository}/issues",
        }
        text = (Path(self.root) / README).read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, f"{repository}/blob/{tag}/", f"{repository}/raw/{tag}/"),
        }


def absolute(text: str, pages: str, files: str) -> str:
    """Return Markdown whose relative links lead to ``pages``, and pictures to ``files``."""
    text = _RELATIVE_PICTURE.sub(rf"\g<1>{files}", text)
    return _RELATIVE_LINK.sub(pages, text)
