"""Which provider stands behind an address: ``gen_ai.provider.name`` by the GenAI conventions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

Provider = Callable[[str, str], str]
"""Names a provider by the host and the path of its address."""

OPENAI: Final = "openai"
OLLAMA: Final = "ollama"
PIPE: Final = "open_webui.pipe"
DIRECT: Final = "open_webui.direct"
COMFYUI: Final = "comfyui"

# Behind whatever gateway, this is how Azure OpenAI's addresses look.
_AZURE_PATH: Final = "/openai/deployments/"
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
    (".api.aws", "aws.bedrock"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.moonshot.cn", "moonshot_ai"),
    (".ml.cloud.ibm.com", "ibm.watsonx.ai"),
    (".wxai.ibm.com", "ibm.watsonx.ai"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
)


def openai_compatible(host: str, path: str = "") -> str:
    """Return the provider that serves the OpenAI API at ``host``, known by its address alone."""
    return "azure.ai.openai" if _AZURE_PATH in path else _at(host)


@functools.lru_cache(maxsize=256)
def _at(host: str) -> str:
    return next((name for end, name in _BY_HOST if host.endswith(end)), OPENAI)


def _always(name: str) -> Provider:
    """Return what names the same provider wherever its server runs."""
    return lambda _host, _path: name


ollama = _always(OLLAMA)
gemini = _always("gcp.gemini")
azure_speech = _always("azure.ai.speech")
elevenlabs = _always("elevenlabs")
mistral = _always("mistral_ai")
deepgram = _always("deepgram")
automatic1111 = _always("automatic1111")
