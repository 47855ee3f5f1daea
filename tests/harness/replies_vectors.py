"""Replies in numbers: embeddings and rerankings."""

from __future__ import annotations

from typing import Any

from harness.replies import Prompt, Reply, count_tokens, response_model
from harness.replies_common import behaves, behaving, json_reply, vector


def inputs_of(prompt: Prompt) -> list[str]:
    """The texts to embed; a text may also be given as a list of tokens."""
    given = prompt.body.get("input", prompt.body.get("prompt", ""))
    if isinstance(given, list) and not all(isinstance(part, int) for part in given):
        return [str(part) for part in given]
    return [str(given)]


def input_count(prompt: Prompt) -> int | None:
    """Tokens of the input; none of a model that keeps them to itself."""
    return None if behaves(prompt, "-nousage") else count_tokens(prompt, "").input


def told_input(tokens: int | None) -> dict[str, float]:
    """What an answer without output tells."""
    return {} if tokens is None else {"input_tokens": tokens}


def embeddings(prompt: Prompt) -> Reply:
    """OpenAI's embeddings."""
    return behaving(prompt, embeddings_answer)


def embeddings_answer(prompt: Prompt) -> Reply:
    """Embeddings of a model that works."""
    tokens = input_count(prompt)
    data = [
        {"object": "embedding", "index": index, "embedding": vector(text)}
        for index, text in enumerate(inputs_of(prompt))
    ]
    value: dict[str, Any] = {"object": "list", "data": data, "model": response_model(prompt)}
    if tokens is not None:
        value["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_reply(value, **told_input(tokens))


def ollama_embed(prompt: Prompt) -> Reply:
    """Ollama's embeddings."""
    return behaving(prompt, ollama_embed_answer)


def ollama_embed_answer(prompt: Prompt) -> Reply:
    """Embeddings of a model that works."""
    tokens = input_count(prompt)
    value = {
        "model": prompt.model,
        "embeddings": [vector(text) for text in inputs_of(prompt)],
        "total_duration": 14_143_917,
        "load_duration": 1_019_500,
        **({} if tokens is None else {"prompt_eval_count": tokens}),
    }
    return json_reply(value, **told_input(tokens))


def ollama_embedding(prompt: Prompt) -> Reply:
    """Ollama's older embeddings, which tell no tokens."""
    return behaving(prompt, lambda _: json_reply({"embedding": vector(inputs_of(prompt)[0])}))


def rerank(prompt: Prompt) -> Reply:
    """A reranking as Jina answers, the best first."""
    return behaving(prompt, rerank_answer)


def rerank_answer(prompt: Prompt) -> Reply:
    """A reranking of a model that works."""
    documents = prompt.body.get("documents")
    texts = [str(text) for text in documents] if isinstance(documents, list) else []
    results = [
        {"index": index, "relevance_score": round((vector(text)[0] + 1) / 2, 4)}
        for index, text in enumerate(texts)
    ]
    results.sort(key=lambda result: result["relevance_score"], reverse=True)
    tokens = input_count(prompt)
    value: dict[str, Any] = {"model": prompt.model, "object": "list"}
    if tokens is not None:
        value["usage"] = {"total_tokens": tokens}
    top = prompt.body.get("top_n")
    value["results"] = results[:top] if isinstance(top, int) else results
    return json_reply(value, **told_input(tokens))
