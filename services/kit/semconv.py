"""Every name that telemetry uses, in one table: a convention that is renamed is renamed here.

RPC names follow OpenTelemetry's semantic conventions 1.45 (stable); the GenAI names are in development there.
"""

from __future__ import annotations

from typing import Final

# Attributes of rpc spans and metrics.
RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_REASON: Final = "trunkline.error.reason"

# Event of a server stream's span.
FIRST_MESSAGE: Final = "rpc.first_message"

# Durations of rpcs, in seconds.
RPC_SERVER_CALL_DURATION: Final = "rpc.server.call.duration"
RPC_CLIENT_CALL_DURATION: Final = "rpc.client.call.duration"

# Models: spans' attributes and metrics' attributes.
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
MODEL_VERSION: Final = "trunkline.model.version"
DEVICE: Final = "trunkline.device"
BATCH_SIZE: Final = "trunkline.batch.size"
BATCH_SLOT: Final = "batch.slot"

# Events and spans of a request's life in a worker.
FIRST_TOKEN: Final = "gen_ai.first_token"  # noqa: S105 - an event's name
SPAN_ENGINE_QUEUE: Final = "engine.queue"
SPAN_ENGINE_PREFILL: Final = "engine.prefill"
SPAN_ENGINE_DECODE: Final = "engine.decode"
SPAN_BATCH_WAIT: Final = "batch.wait"
SPAN_BATCH_EXECUTE: Final = "batch.execute"

# Models: histograms in seconds, counters in tokens.
GEN_AI_SERVER_REQUEST_DURATION: Final = "gen_ai.server.request.duration"
GEN_AI_SERVER_TIME_TO_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105
GEN_AI_SERVER_TIME_PER_OUTPUT_TOKEN: Final = "gen_ai.server.time_per_output_token"  # noqa: S105
MODEL_PROMPT_TOKENS: Final = "trunkline.model.prompt_tokens"
MODEL_GENERATED_TOKENS: Final = "trunkline.model.generated_tokens"

# An engine's steps: a histogram of seconds and one of tokens, counters in tokens and requests.
MODEL_STEP_DURATION: Final = "trunkline.model.step.duration"
MODEL_STEP_TOKENS: Final = "trunkline.model.step.tokens"
MODEL_CACHED_PROMPT_TOKENS: Final = "trunkline.model.cached_prompt_tokens"
MODEL_PREEMPTIONS: Final = "trunkline.model.preemptions"
MODEL_DRAFTED_TOKENS: Final = "trunkline.model.drafted_tokens"
MODEL_ACCEPTED_DRAFT_TOKENS: Final = "trunkline.model.accepted_draft_tokens"
MODEL_RUNNER: Final = "trunkline.model.runner"
MODEL_PRECISION: Final = "trunkline.model.precision"

# A process: CPU in seconds by mode, resident memory in bytes.
PROCESS_CPU_TIME: Final = "process.cpu.time"
PROCESS_MEMORY_USAGE: Final = "process.memory.usage"
CPU_MODE: Final = "cpu.mode"

# Resources.
SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
SERVICE_VERSION: Final = "service.version"
PROCESS_PID: Final = "process.pid"
HOST_NAME: Final = "host.name"

# Histograms of seconds: 1 ms to 100 s, three a decade, so that a quantile is read to a factor of about two.
DURATION_BUCKETS_S: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
)  # fmt: skip

# The statuses that are the server's fault, by the conventions; the others are the caller's or nobody's.
SERVER_FAULTS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
