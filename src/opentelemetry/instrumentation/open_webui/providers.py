"""Which provider stands behind an address: ``gen_ai.provider.name`` by the GenAI conventions."""

from __future__ import annotations

from typing import Final

OPENAI: Final = "openai"
OLLAMA: Final = "ollama"

# By the end of the host name; any other server counts as `openai`, whose wire it speaks.
_BY_HOST: Final = (
    (".openai.azure.com", "azure.ai.openai"),
    (".azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    (".amazonaws.com", "aws.bedrock"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
)


def openai_compatible(host: str) -> str:
    """Return the provider that serves the OpenAI API at ``host``."""
    for end, name in _BY_HOST:
        if host.endswith(end):
            return name
    return OPENAI


def ollama(_host: str) -> str:
    """Return the provider that serves Ollama's API, wherever it runs."""
    return OLLAMA
