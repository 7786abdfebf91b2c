"""The W3C trace context that a command sends, so that it knows under which id its call's trace is found.

Commands have no OpenTelemetry (it is not in the base install) and export no span of their own: the trace's
first span is Envoy's, whose parent is the id that was sent here.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TraceContext:
    """A new sampled trace: 32 and 16 hex digits, as https://www.w3.org/TR/trace-context/ has them."""

    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call carries."""
        return (("traceparent", f"00-{self.trace_id}-{self.span_id}-01"),)
