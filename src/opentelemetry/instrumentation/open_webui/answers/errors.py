"""``error.type``: every value that it may have, so that nobody outside can make up new ones."""

from __future__ import annotations

import sys
from typing import Final

from ..names import OTHER

# Source: the API references and error pages of the providers, as of 2026. A provider's code or type
# that is not in here counts as `_OTHER`, or as its HTTP status where that is an error.
_OPENAI: Final = frozenset((
    "invalid_request_error", "invalid_request", "authentication_error", "permission_error",
    "permission_denied", "not_found_error", "rate_limit_error", "server_error", "api_error",
    "api_connection_error", "service_unavailable_error", "internal_error", "internal_server_error",
    "invalid_api_key", "incorrect_api_key", "account_deactivated", "billing_not_active",
    "billing_hard_limit_reached", "credit_balance_exhausted", "insufficient_quota",
    "insufficient_permissions", "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded", "project_spend_limit_exceeded", "rate_limit_exceeded",
    "requests", "tokens", "slow_down", "server_is_overloaded", "engine_overloaded",
    "model_not_found", "model_not_available", "invalid_model", "context_length_exceeded",
    "string_above_max_length", "max_tokens_exceeded", "content_filter", "content_policy_violation",
    "moderation_blocked", "invalid_value", "invalid_type", "invalid_parameter",
    "missing_required_parameter", "unknown_parameter", "unsupported_parameter",
    "unsupported_value", "unsupported_model", "unsupported_country_region_territory",
    "invalid_prompt", "invalid_image", "invalid_image_format", "invalid_base64_image",
    "invalid_image_url", "invalid_image_mode", "invalid_image_input", "image_too_large",
    "image_too_small", "image_parse_error", "image_content_policy_violation",
    "image_file_too_large", "image_file_not_found", "image_generation_user_error",
    "unsupported_image_media_type", "empty_image_file", "failed_to_download_image",
    "vector_store_timeout", "previous_response_not_found", "session_expired",
    "audio_too_short", "input_audio_buffer_commit_empty", "decimal_above_max_value",
    "integer_above_max_value", "integer_below_min_value", "timeout",
))  # fmt: skip
_ANTHROPIC: Final = frozenset((
    "overloaded_error", "request_too_large", "timeout_error", "billing_error",
))  # fmt: skip
_AZURE: Final = frozenset((
    "DeploymentNotFound", "OperationNotSupported", "ResponsibleAIPolicyViolation", "BadRequest",
    "Unauthorized", "PermissionDenied", "AccessDenied", "NotFound", "ResourceNotFound",
    "TooManyRequests", "RateLimitReached", "InternalServerError", "ServiceUnavailable",
    "RequestTimeout", "InvalidRequest", "unknown_model", "unavailable_model", "NoCapacity",
))  # fmt: skip
# google.rpc.Code.
_GOOGLE: Final = frozenset((
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
))  # fmt: skip
_BEDROCK: Final = frozenset((
    "AccessDeniedException", "InternalServerException", "ModelErrorException",
    "ModelNotReadyException", "ModelStreamErrorException", "ModelTimeoutException",
    "ResourceNotFoundException", "ServiceQuotaExceededException", "ServiceUnavailableException",
    "ThrottlingException", "ValidationException",
))  # fmt: skip
_OPENROUTER: Final = frozenset((
    "authentication", "payment_required", "not_found", "precondition_failed", "payload_too_large",
    "unprocessable", "provider_overloaded", "provider_unavailable", "refusal", "server",
    "token_limit_exceeded", "string_too_long", "unsupported_image_format", "image_not_found",
    "image_download_failed",
))  # fmt: skip
# LiteLLM and vLLM name what went wrong as Python's OpenAI SDK names its exceptions.
_GATEWAYS: Final = frozenset((
    "APIConnectionError", "APIError", "APITimeoutError", "AuthenticationError", "BadRequestError",
    "BudgetExceededError", "ContentPolicyViolationError", "ContextWindowExceededError",
    "InternalServerError", "InvalidRequestError", "NotFoundError", "PermissionDeniedError",
    "RateLimitError", "ServiceUnavailableError", "Timeout", "UnprocessableEntityError",
    "UnsupportedParamsError", "auth_error", "budget_exceeded", "expired_key", "throttling_error",
    "key_model_access_denied", "team_model_access_denied", "token_not_found_in_db",
    "no_db_connection", "bad_request_error", "validation_error",
))  # fmt: skip
# llama.cpp, Groq, Mistral, DeepSeek, xAI, Cohere, Perplexity, Together.
_OTHERS: Final = frozenset((
    "exceed_context_size_error", "not_supported_error", "unavailable_error",
    "json_validate_failed", "tool_use_failed", "model_decommissioned", "request_entity_too_large",
    "invalid_request_message_order", "unauthorized", "service_tier_capacity_exceeded",
    "insufficient_balance", "unknown_error", "too_many_requests", "service_unavailable",
    "bad_request", "gateway_timeout", "overloaded", "model_overloaded", "capacity_exceeded",
))  # fmt: skip
CODES: Final = frozenset().union(
    _OPENAI, _ANTHROPIC, _AZURE, _GOOGLE, _BEDROCK, _OPENROUTER, _GATEWAYS, _OTHERS
)

# Whose exceptions are told by their own name; of any other, the nearest of these that it is made
# from. Pipes raise what they like.
_PACKAGES: Final = frozenset((
    "builtins", "asyncio", "concurrent", "socket", "ssl", "http", "json", "urllib", "aiohttp",
    "aiohttp_socks", "httpx", "httpcore", "requests", "urllib3", "anyio", "starlette", "fastapi",
    "pydantic", "pydantic_core", "websockets", "openai", "anthropic", "google", "ollama",
    "mistralai", "cohere", "groq", "litellm", "botocore", "open_webui",
))  # fmt: skip


def of_status(status: int) -> str:
    """Return the ``error.type`` of an HTTP status."""
    return str(status) if 100 <= status <= 599 else OTHER


def of_answer(error: object) -> str:
    """Return that of a provider's error object: its code, else its type, if it is a known one."""
    if isinstance(error, dict):
        for key in ("code", "type"):
            known = _known(error.get(key))
            if known is not None:
                return known
    return OTHER


def of_exception(error: BaseException) -> str:
    """Return that of an exception: the name of the first of its classes that is a known one."""
    return next((kind.__name__ for kind in type(error).__mro__ if _is_known(kind)), OTHER)


def _known(name: object) -> str | None:
    if isinstance(name, str):
        return name if name in CODES or _is_status(name) else None
    whole = isinstance(name, int) and not isinstance(name, bool) and 100 <= name <= 599
    return str(name) if whole else None


def _is_status(name: str) -> bool:
    return len(name) == 3 and name.isascii() and name.isdigit() and "100" <= name <= "599"


def _is_known(kind: type) -> bool:
    module = kind.__module__
    if module.partition(".")[0] not in _PACKAGES:
        return False
    # A class may say of itself what it likes; this one is really there.
    return getattr(sys.modules.get(module), kind.__name__, None) is kind
