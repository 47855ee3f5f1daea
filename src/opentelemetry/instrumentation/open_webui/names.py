"""Every attribute, metric, unit, bucket list and event name, once.

The telemetry contract is ``docs/telemetry.md``. Names that OpenTelemetry's semantic conventions
define are theirs (GenAI, general, server and user attributes of schema 1.41.0); they are spelled
out here because the constants of ``opentelemetry.semconv._incubating`` move between releases.
"""

from __future__ import annotations

from dataclasses import dataclass
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
CACHE_CREATION_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
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
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOKEN_TYPE: Final = "gen_ai.token.type"
TOKEN_DETAIL: Final = "open_webui.token.detail"
SIGNAL: Final = "open_webui.signal"

# Values.
OTHER: Final = "_OTHER"
"""``error.type`` of an error that names itself in no usable way (OpenTelemetry's fallback)."""
CANCELLED: Final = "cancelled"
"""``error.type`` of an answer that its reader gave up before the end."""
FOLDED: Final = "__other__"
"""The user, the group or the model that stands for all that are not told apart."""
NO_GROUP: Final = "(none)"
SYSTEM_USER: Final = "system"
CHAT_TASK: Final = "chat"
RETRIEVAL_TASK: Final = "retrieval"
UNKNOWN_TASK: Final = "unknown"
COST_FROM_FILE: Final = "price_file"
COST_FROM_PROVIDER: Final = "provider"
COST_FROM_LIST: Final = "genai_prices"
DOCTOR: Final = "doctor"
"""Task and model of the doctor's test call."""
TASKS: Final = frozenset((
    CHAT_TASK, RETRIEVAL_TASK, UNKNOWN_TASK, DOCTOR,
    "title_generation", "tags_generation", "follow_up_generation", "query_generation",
    "image_prompt_generation", "autocomplete_generation", "emoji_generation", "function_calling",
    "moa_response_generation", "context_compaction", "memory_review",
))  # fmt: skip
"""Ours, and Open WebUI's of all versions; a newer one may have more in ``constants.TASKS``."""
INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"

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
ACTIVE: Final = Metric(
    "open_webui.instrumentation.active", "{process}", "1 for each process that reports."
)
