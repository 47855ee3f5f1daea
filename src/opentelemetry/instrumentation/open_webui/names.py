"""Every attribute, metric, unit, bucket list and event name, once.

The telemetry contract is ``docs/telemetry.md``. Names that OpenTelemetry's semantic conventions
define are theirs: general, server and user attributes of schema 1.41.0, and the GenAI conventions'
registry as far as ``opentelemetry-util-genai`` 1.3b0 has released it. They are spelled out here
because the constants of ``opentelemetry.semconv._incubating`` move between releases, and those of
GenAI do not follow the registry any more. ``tests/semconv`` compares them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

SCOPE: Final = "opentelemetry.instrumentation.open_webui"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.0"

# Who, which model, from where.
USER_ID: Final = "user.id"
USER_NAME: Final = "user.name"
USER_ROLES: Final = "user.roles"
USER_GROUPS: Final = "open_webui.user.groups"
GROUP_NAME: Final = "open_webui.group.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
MODEL_ID: Final = "open_webui.model.id"
PROVIDER_NAME: Final = "gen_ai.provider.name"
SOURCE: Final = "open_webui.source"
TASK: Final = "open_webui.task"
OPERATION: Final = "gen_ai.operation.name"

# One call.
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
HTTP_ROUTE: Final = "http.route"
AUTH: Final = "open_webui.auth"
COST_SOURCE: Final = "open_webui.cost.source"
USAGE_ESTIMATED: Final = "open_webui.usage.estimated"
CALL_ID: Final = "open_webui.call.id"
CALL_PARENT_ID: Final = "open_webui.call.parent_id"
CALL_DURATION: Final = "open_webui.call.duration"
CALL_STATUS: Final = "open_webui.call.status"
TOKEN_TYPE: Final = "gen_ai.token.type"
TOKEN_MODALITY: Final = "gen_ai.token.modality"
TOKEN_DETAIL: Final = "open_webui.token.detail"
LIMIT_NAME: Final = "open_webui.limit.name"
LIMIT_MEASURE: Final = "open_webui.limit.measure"
LIMIT_OBSERVED: Final = "open_webui.limit.observed"
LIMIT_SHARED: Final = "open_webui.limit.shared"
SIGNAL: Final = "open_webui.signal"

# One turn, one run of a tool.
AGENT_NAME: Final = "gen_ai.agent.name"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"

# Values.
OTHER: Final = "_OTHER"
"""``error.type`` of an error that names itself in no usable way (OpenTelemetry's fallback)."""
CANCELLED: Final = "cancelled"
"""``error.type`` of an answer that its reader gave up before the end."""
FOLDED: Final = "__other__"
"""The user, the group or the model that stands for all that are not told apart."""
NO_GROUP: Final = "(none)"
NO_PROVIDER: Final = "(none)"
"""The provider of a call that was refused before one was asked."""
REFUSED_TASK: Final = "refused"
LIMIT_EXCEEDED: Final = "usage_limit_exceeded"
"""``error.type`` of a call that a limit refused."""
SYSTEM_USER: Final = "system"
CHAT_TASK: Final = "chat"
RETRIEVAL_TASK: Final = "retrieval"
UNKNOWN_TASK: Final = "unknown"
COST_FROM_FILE: Final = "price_file"
COST_FROM_PROVIDER: Final = "provider"
COST_FROM_LIST: Final = "genai_prices"
TASKS: Final = frozenset((
    CHAT_TASK, RETRIEVAL_TASK, UNKNOWN_TASK,
    "title_generation", "tags_generation", "follow_up_generation", "query_generation",
    "image_prompt_generation", "autocomplete_generation", "emoji_generation", "function_calling",
    "moa_response_generation", "context_compaction", "memory_review",
))  # fmt: skip
"""Ours, and Open WebUI's of all versions; a newer one may have more in ``constants.TASKS``."""
INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"
FUNCTION_TOOL: Final = "function"
"""``gen_ai.tool.type`` of what the model only asks for and Open WebUI runs."""
INFERENCE: Final = frozenset(("chat", "generate_content", "text_completion"))
"""Operations whose client metrics are called ``gen_ai.client.inference.*`` in time to come."""
UNKNOWN_MODALITY: Final = "unknown"

USAGE_EVENT: Final = "open_webui.usage"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name, unit, what it counts and, for a histogram, its bucket boundaries."""

    name: str
    unit: str
    description: str
    buckets: tuple[float, ...] = ()


# Bucket boundaries that the GenAI conventions advise.
_SECONDS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
_TURN_SECONDS: Final = (
    0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6,
)  # fmt: skip
_TOKENS: Final = (
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
)  # fmt: skip

DURATION: Final = Metric(
    "gen_ai.client.operation.duration", "s", "Duration of a call to a model.", _SECONDS
)
TOKEN_USAGE: Final = Metric(
    "gen_ai.client.token.usage", "{token}", "Tokens used by one call to a model.", _TOKENS
)
FIRST_CHUNK: Final = Metric(
    "gen_ai.client.operation.time_to_first_chunk",
    "s",
    "Time from the request to the first chunk of a streamed answer.",
    _SECONDS,
)
PER_CHUNK: Final = Metric(
    "gen_ai.client.operation.time_per_output_chunk",
    "s",
    "Mean time between the chunks of one streamed answer.",
    _SECONDS,
)
AGENT_DURATION: Final = Metric(
    "gen_ai.invoke_agent.duration", "s", "Duration of a user's turn in a chat.", _TURN_SECONDS
)
TOOL_DURATION: Final = Metric(
    "gen_ai.execute_tool.duration", "s", "Duration of one run of a tool.", _SECONDS
)

# What the client metrics will be called.
INFERENCE_DURATION: Final = replace(DURATION, name="gen_ai.client.inference.duration")
INFERENCE_FIRST_CHUNK: Final = replace(
    FIRST_CHUNK, name="gen_ai.client.inference.time_to_first_chunk"
)
INFERENCE_PER_CHUNK: Final = replace(
    PER_CHUNK, name="gen_ai.client.inference.time_per_output_chunk"
)
INFERENCE_INPUT: Final = Metric(
    "gen_ai.client.inference.operation.input_tokens",
    "{token}",
    "Input tokens used by one call to a model.",
    _TOKENS,
)
INFERENCE_OUTPUT: Final = Metric(
    "gen_ai.client.inference.operation.output_tokens",
    "{token}",
    "Output tokens used by one call to a model.",
    _TOKENS,
)
USED_INPUT: Final = Metric(
    "gen_ai.client.inference.usage.input_tokens", "{token}", "Input tokens used."
)
USED_OUTPUT: Final = Metric(
    "gen_ai.client.inference.usage.output_tokens", "{token}", "Output tokens used."
)
USED_CACHE_READ: Final = Metric(
    "gen_ai.client.inference.usage.cache_read.input_tokens",
    "{token}",
    "Input tokens served from a provider's cache. Part of the input tokens.",
)
USED_CACHE_WRITE: Final = Metric(
    "gen_ai.client.inference.usage.cache_write.input_tokens",
    "{token}",
    "Input tokens written to a provider's cache. Part of the input tokens.",
)
USED_REASONING: Final = Metric(
    "gen_ai.client.inference.usage.reasoning.output_tokens",
    "{token}",
    "Output tokens spent on reasoning. Part of the output tokens.",
)

# Accounting.
USAGE_REQUESTS: Final = Metric(
    "open_webui.usage.requests", "{request}", "Calls to models, by who made them."
)
USAGE_TOKENS: Final = Metric(
    "open_webui.usage.tokens", "{token}", "Tokens that providers reported, by who used them."
)
USAGE_TOKEN_DETAILS: Final = Metric(
    "open_webui.usage.token_details",
    "{token}",
    "Parts of the tokens: cached, or spent on reasoning. Not to be added to them.",
)
USAGE_COST: Final = Metric(
    "open_webui.usage.cost", "{USD}", "US dollars that calls to models cost, by who made them."
)
USAGE_UNPRICED: Final = Metric(
    "open_webui.usage.unpriced_requests",
    "{request}",
    "Calls to models that used something and whose price is not known, by who made them.",
)
USAGE_CHARACTERS: Final = Metric(
    "open_webui.usage.characters", "{character}", "Characters that were spoken, by who had them."
)
USAGE_IMAGES: Final = Metric(
    "open_webui.usage.images", "{image}", "Images that were made, by who had them made."
)
USAGE_AUDIO_DURATION: Final = Metric(
    "open_webui.usage.audio.duration", "s", "Audio that was transcribed, by who had it."
)
USAGE_PAGES: Final = Metric(
    "open_webui.usage.pages", "{page}", "Pages that were read by a model, by who had them read."
)
GROUP_REQUESTS: Final = Metric(
    "open_webui.group.requests",
    "{request}",
    "Calls to models, under each group of the user. Not to be summed over groups.",
)
GROUP_TOKENS: Final = Metric(
    "open_webui.group.tokens",
    "{token}",
    "Tokens, under each group of the user. Not to be summed over groups.",
)
GROUP_COST: Final = Metric(
    "open_webui.group.cost",
    "{USD}",
    "US dollars, under each group of the user. Not to be summed over groups.",
)
USER_GROUP: Final = Metric(
    "open_webui.user.group", "{membership}", "1 for each group of each user lately active."
)
USER_LAST_SEEN: Final = Metric(
    "open_webui.user.last_seen", "s", "Unix time of the last call of each user lately active."
)
EXPORT_FAILURES: Final = Metric(
    "open_webui.export.failures", "{export}", "Exports that failed, by signal."
)
EXPORT_DROPPED: Final = Metric(
    "open_webui.export.dropped",
    "{item}",
    "Data points, spans and events that were given up, by signal and reason.",
)
LEDGER_WRITTEN: Final = Metric(
    "open_webui.ledger.written", "{call}", "Calls that were written to the ledger."
)
LEDGER_QUEUE: Final = Metric(
    "open_webui.ledger.queue", "{call}", "Calls in memory that are not in the ledger yet."
)
LEDGER_SPOOLED: Final = Metric(
    "open_webui.ledger.spooled", "{call}", "Calls that were put in a file to wait for the ledger."
)
LEDGER_SPOOL_FILES: Final = Metric(
    "open_webui.ledger.spool_files", "{file}", "Files of calls that wait for the ledger."
)
LEDGER_LOST: Final = Metric(
    "open_webui.ledger.lost", "{call}", "Calls that the ledger has no room for, or does not take."
)
LEDGER_BEHIND: Final = Metric(
    "open_webui.ledger.behind", "s", "How long the oldest call has waited for the ledger."
)
LIMIT_USED: Final = Metric(
    "open_webui.limit.used",
    "{usage}",
    "What is used of a limit: by all who share it, or else by who has used most. In its measure.",
)
LIMIT_ALLOWED: Final = Metric(
    "open_webui.limit.allowed", "{usage}", "How much may be used of a limit. In its measure."
)
LIMIT_UNCHECKED: Final = Metric(
    "open_webui.limit.unchecked_requests",
    "{request}",
    "Requests that were let in or refused while the ledger could not be asked what was used.",
)
USAGE_REFUSED: Final = Metric(
    "open_webui.usage.refused_requests",
    "{request}",
    "Requests that a limit refused, or would have if it did not only observe.",
)
ACTIVE: Final = Metric(
    "open_webui.instrumentation.active", "{process}", "1 for each process that reports."
)
PRICES_MODIFIED: Final = Metric(
    "open_webui.price_file.modified",
    "s",
    "When the price file in force was last changed: Unix time.",
)
