"""`isac-torch serve`: the service on a socket of this machine until it is told to stop."""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import TYPE_CHECKING

from isac_torch.errors import RequestError

if TYPE_CHECKING:
    from isac_torch.deployment.allocator import DeployedAllocator
    from isac_torch.deployment.downlink_pilots.allocator import RoadAllocator
    from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
    from isac_torch.deployment.limits import Limits
    from isac_torch.deployment.snapshot import Snapshot

CONCURRENCY = 512
"""Connections at once; further ones get 503."""
GRACE = 15
"""Seconds that requests under way get to end after SIGTERM or Ctrl-C."""


def run_server(
    allocator: DeployedAllocator | RoadAllocator,
    host: str,
    port: int,
    limits: Limits,
    network: type[Snapshot] | type[RoadSnapshot],
) -> None:
    """Answer requests until SIGINT or SIGTERM; what is under way then is still answered.

    Args:
        allocator: loaded bundle.
        host: address to listen on.
        port: 0 takes a free one.
        limits: of requests.
        network: kind of the networks that the allocator takes.

    Raises:
        RequestError: where the port is none or the address cannot be listened on.
    """
    check_port(port)
    import uvicorn

    from isac_torch.deployment.serving import create_app

    listener = _listen(host, port)
    config = uvicorn.Config(
        create_app(allocator, limits, network),
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=CONCURRENCY,
        timeout_keep_alive=int(max(limits.seconds, 1)),
        timeout_graceful_shutdown=GRACE,
    )
    name, bound = listener.getsockname()[:2]
    shown = f"[{name}]" if ":" in name else name
    sys.stderr.write(f"isac-torch: allocating on http://{shown}:{bound} (POST /allocate; description at /docs)\n")
    if not ipaddress.ip_address(name).is_loopback:
        sys.stderr.write("isac-torch: open to other machines, without encryption or passwords: keep a proxy in front\n")
    sys.stderr.flush()
    uvicorn.Server(config).run(sockets=[listener])


def check_port(port: int) -> None:
    """Raise RequestError unless `port` is one: the system would take the remainder of a division by 65536."""
    if not 0 <= port <= 65535:
        raise RequestError(f"port={port} must lie in 0..65535; 0 takes a free one")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=CONCURRENCY)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"cannot listen on host={host!r} port={port} ({reason}); choose another port or host") from None
