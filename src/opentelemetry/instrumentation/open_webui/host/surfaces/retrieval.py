"""Models that read, embed, rank and search: ``retrieval`` and what it calls."""

from __future__ import annotations

from typing import Final

from ... import providers
from ...calls.endpoints import RERANK
from ...calls.transport import Leaf
from ...names import RETRIEVAL_TASK
from ..patching import Target
from .leaf import announces

_UTILS: Final = "open_webui.retrieval.utils"
_EMBEDDINGS: Final = frozenset({"embeddings"})

OPENAI: Final = Leaf(_EMBEDDINGS, task=RETRIEVAL_TASK)
OLLAMA: Final = Leaf(_EMBEDDINGS, provider=providers.ollama, task=RETRIEVAL_TASK)
# The address of a reranker may be any.
RERANKER: Final = Leaf(anywhere=RERANK, task=RETRIEVAL_TASK)
SEARCH: Final = Leaf(frozenset({"chat"}), task=RETRIEVAL_TASK)
OCR: Final = Leaf(frozenset({"ocr"}), task=RETRIEVAL_TASK)

TARGETS: Final = (
    *(
        Target(_UTILS, prefix + attribute, announces(leaf), covers=covers)
        for attribute, leaf, covers in (
            ("generate_openai_batch_embeddings", OPENAI, "embeddings for retrieval from OpenAI"),
            ("generate_azure_openai_batch_embeddings", OPENAI, "embeddings for retrieval by Azure"),
            ("generate_ollama_batch_embeddings", OLLAMA, "embeddings for retrieval from Ollama"),
        )
        for prefix in ("", "a")
    ),
    Target(
        "open_webui.retrieval.models.external",
        "ExternalReranker.predict",
        announces(RERANKER),
        covers="reranking",
        # Open WebUI imports it when one is configured.
        optional=True,
    ),
    Target(
        "open_webui.retrieval.web.perplexity",
        "search_perplexity",
        announces(SEARCH),
        covers="searches of the web by Perplexity's models",
    ),
    Target(
        "open_webui.retrieval.loaders.mistral",
        "MistralLoader._process_ocr",
        announces(OCR),
        covers="documents read by Mistral's OCR",
        # Open WebUI imports it when a document comes.
        optional=True,
    ),
)
