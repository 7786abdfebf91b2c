"""`python -m services.kit.probe ADDRESS [SERVICE]`: a health check for platforms that run a command for one.

Asks the standard health service at ADDRESS (host:port) for SERVICE, the full name of a gRPC service (default:
the server as a whole). Exits with 0 when it is SERVING, else with 1 and one sentence on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

TIMEOUT_SECONDS = 3.0


def main(arguments: Sequence[str]) -> int:
    """Probe as the module says; return the exit status, 2 for wrong arguments."""
    if len(arguments) not in {1, 2}:
        return _say("usage: python -m services.kit.probe ADDRESS [SERVICE]", status=2)
    address, service = arguments[0], "".join(arguments[1:])
    try:
        status = _status(address, service)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return _say(f"{address} does not say how {service or 'it'} is: {code.name}")
    if status != HealthCheckResponse.SERVING:
        name = HealthCheckResponse.ServingStatus.Name(status)
        return _say(f"{service or 'the server'} at {address} is {name}")
    return 0


def _status(address: str, service: str) -> int:
    """Return the answer's status. One call by hand: grpc_health has no types for its stub."""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        answer: HealthCheckResponse = check(HealthCheckRequest(service=service), timeout=TIMEOUT_SECONDS)
        return answer.status


def _say(sentence: str, *, status: int = 1) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - what the platform shows as the check's output
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
