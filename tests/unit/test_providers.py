from __future__ import annotations

import pytest

from opentelemetry.instrumentation.open_webui.providers import openai_compatible

# As the providers' own documentation gives their addresses.
HOSTS = [
    ("api.openai.com", "openai"),
    ("localhost", "openai"),
    ("me.openai.azure.com", "azure.ai.openai"),
    ("me.services.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("us-east-1.api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("europe-west1-aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("bedrock-runtime.us-west-2.amazonaws.com", "aws.bedrock"),
    ("bedrock-mantle.us-east-1.api.aws", "aws.bedrock"),
    ("api.cohere.com", "cohere"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.moonshot.cn", "moonshot_ai"),
    ("eu-de.ml.cloud.ibm.com", "ibm.watsonx.ai"),
    ("private.us-south.ml.cloud.ibm.com", "ibm.watsonx.ai"),
    ("ap-south-1.aws.wxai.ibm.com", "ibm.watsonx.ai"),
    ("moonshot.ai.example", "openai"),
]


@pytest.mark.parametrize(("host", "name"), HOSTS)
def test_a_provider_is_known_by_its_host(host: str, name: str) -> None:
    assert openai_compatible(host, "/v1/chat/completions") == name


def test_azure_is_known_by_the_path_behind_a_gateway() -> None:
    path = "/openai/deployments/d/chat/completions"
    assert openai_compatible("gateway.example", path) == "azure.ai.openai"
