-- The ledger of calls in ClickHouse: for the exporter of clickhouse.yaml, and for people's questions.
-- Tried with the engine of ClickHouse 26.9.

CREATE DATABASE IF NOT EXISTS open_webui;

-- The columns that the collector's exporter writes. A repeat of a call has the same time and id, so it
-- is in the same partition and under the same key, and merges drop it.
CREATE TABLE IF NOT EXISTS open_webui.usage_events
(
    Timestamp          DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId            String CODEC(ZSTD(1)),
    SpanId             String CODEC(ZSTD(1)),
    TraceFlags         UInt8,
    SeverityText       LowCardinality(String),
    SeverityNumber     UInt8,
    ServiceName        LowCardinality(String),
    Body               String CODEC(ZSTD(1)),
    ResourceSchemaUrl  LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeSchemaUrl     LowCardinality(String),
    ScopeName          LowCardinality(String),
    ScopeVersion       LowCardinality(String),
    ScopeAttributes    Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    LogAttributes      Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    EventName          LowCardinality(String),
    CallId             String MATERIALIZED LogAttributes['open_webui.call.id']
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (toDate(Timestamp), CallId);

-- A row for each call, with names and types; FINAL leaves out repeats that are not merged yet.
CREATE OR REPLACE VIEW open_webui.calls AS
SELECT
    Timestamp                                                           AS time,
    CallId                                                              AS call_id,
    LogAttributes['user.id']                                            AS user_id,
    LogAttributes['user.name']                                          AS user_name,
    JSONExtract(LogAttributes['open_webui.user.groups'], 'Array(String)') AS groups,
    LogAttributes['gen_ai.request.model']                               AS model,
    LogAttributes['open_webui.model.id']                                AS picked_model,
    LogAttributes['gen_ai.provider.name']                               AS provider,
    LogAttributes['open_webui.source']                                  AS source,
    LogAttributes['open_webui.task']                                    AS task,
    LogAttributes['gen_ai.operation.name']                              AS operation,
    LogAttributes['open_webui.call.status']                             AS status,
    LogAttributes['error.type']                                         AS error_type,
    toUInt64OrZero(LogAttributes['gen_ai.usage.input_tokens'])          AS input_tokens,
    toUInt64OrZero(LogAttributes['gen_ai.usage.output_tokens'])         AS output_tokens,
    LogAttributes['open_webui.usage.estimated'] = 'true'                AS estimated,
    toFloat64OrNull(nullIf(LogAttributes['open_webui.usage.cost'], '')) AS cost,
    LogAttributes['open_webui.cost.source']                             AS cost_source,
    toFloat64OrZero(LogAttributes['open_webui.call.duration'])          AS seconds,
    LogAttributes['gen_ai.conversation.id']                             AS chat_id,
    TraceId                                                             AS trace_id
FROM open_webui.usage_events FINAL;
