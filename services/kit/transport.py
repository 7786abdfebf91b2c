"""What both ends of a connection agree on: message limits, keepalive, reconnects, retries."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from services.kit.audience import Method, idempotent_methods

Options = tuple[tuple[str, Any], ...]

MESSAGE_LIMIT_BYTES = 64 * 1024 * 1024

# A frozen peer is found within 1 s + 1.5 s. The ping's own limit is what finds it: the kernel of a stopped
# process still acknowledges, so keepalive_timeout alone waits for ever.
PING_EVERY_MS = 1_000
PING_LIMIT_MS = 1_500

_LIMITS: Options = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
)
_KEEPALIVE: Options = (
    ("grpc.keepalive_time_ms", PING_EVERY_MS),
    ("grpc.keepalive_timeout_ms", PING_LIMIT_MS),
    ("grpc.http2.ping_timeout_ms", PING_LIMIT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


def server_options() -> Options:
    """Return a server's options; it takes as many pings as clients care to send."""
    return (
        *_LIMITS,
        *_KEEPALIVE,
        # Two processes on one port would share its calls silently; the second is refused instead.
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 100),
        ("grpc.http2.max_ping_strikes", 0),
    )


def client_options() -> Options:
    """Return a channel's options: reconnects within a second, retries what may be repeated, uses no proxy."""
    return (
        *_LIMITS,
        *_KEEPALIVE,
        ("grpc.enable_http_proxy", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 2_000),  # how long one attempt to connect may take
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
        ("grpc.service_config", service_config()),
    )


@cache
def service_config() -> str:
    """Return the service config as JSON: round robin over all addresses of a name, and retries.

    Only rpcs marked NO_SIDE_EFFECTS or IDEMPOTENT are retried, on UNAVAILABLE, twice at most, and not while
    more than one call in ten fails.
    """
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": _names(idempotent_methods()), "retryPolicy": _RETRY}],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
    return json.dumps(config)


_RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def _names(methods: Iterable[Method]) -> list[dict[str, str]]:
    return [{"service": each.service, "method": each.name} for each in methods]
