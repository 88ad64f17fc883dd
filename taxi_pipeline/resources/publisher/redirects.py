"""Where a server's redirects may lead: never into a private network, and never from https to http.

Else a publisher could have us ask what only we reach, such as Dagster's webserver, and store what
it answers. What is asked, and for how long, is `publisher`'s and `deadline`'s.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.text import printable

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # its last 32 bits are an IPv4 address, by RFC 6052
_PRIVATE_DOMAINS = {
    *("localhost", "local", "internal", "svc", "lan", "home", "corp", "intranet", "arpa"),
}


class Redirects:
    """Checks where the requests of one session are sent: the first, and the redirects from there.

    The first is to the configured URL. If that is at a private address itself, as in the embedded
    stack or with a mirror of one's own, private addresses are fine for its redirects, too.
    """

    def __init__(self) -> None:
        self._configured: SplitResult | None = None
        self._requested: SplitResult | None = None
        self._is_proxied = False
        self._starts_public: bool | None = None

    def follow(self, url: str, is_proxied: bool) -> None:
        """Check a URL that is about to be asked for, before it is connected to.

        A proxy connects in our place, so the address that we connect to says nothing of the
        target's. Its name may mean something else to the proxy than to us, so it is not looked up:
        only an address, or a name that no public host has, is refused.

        Args:
            url: The URL.
            is_proxied: Whether it is asked for by way of a proxy.

        Raises:
            PermanentError: A redirect leads from https to http, or by a proxy from a public host
                into a private network.
        """
        parts = urlsplit(url)
        if self._requested and (self._requested.scheme, parts.scheme) == ("https", "http"):
            raise self._refusal(parts, "by http, though it was asked by https")
        self._configured = self._configured or parts
        self._requested = parts
        self._is_proxied = is_proxied
        if is_proxied:
            self._check(_is_public_name(parts.hostname or ""))

    def connect(self, connection: socket.socket) -> None:
        """Check the address of a new connection, on which nothing has been sent yet.

        So it is the address that counts, whatever the name's server answered before.

        Raises:
            PermanentError: A redirect leads from a public address into a private network.
        """
        if not self._is_proxied:
            self._check(is_public(peer_address(connection)))

    def _check(self, is_public: bool) -> None:
        if self._starts_public is None:
            self._starts_public = is_public
        elif self._starts_public and not is_public and self._requested:
            raise self._refusal(self._requested, "in a private network")

    def _refusal(self, target: SplitResult, where: str) -> PermanentError:
        configured = self._configured.geturl() if self._configured else ""
        return PermanentError(
            f"{configured}: a redirect leads to {printable(target.hostname or '')}, {where}; it "
            "was not followed. If it is right, set TAXI_PUBLISHER_URLS, TAXI_ZONES_URL or "
            "TAXI_ZONE_SHAPES_URL to where the file is."
        )


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is one of the public Internet."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped or address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        if address.sixtofour:
            return is_public(address.sixtofour)
        return address.is_global and address in _GLOBAL_UNICAST
    return address.is_global and not address.is_multicast


def peer_address(connection: socket.socket) -> IPv4Address | IPv6Address:
    """Return the address that a socket is connected to."""
    return ip_address(connection.getpeername()[0])


def _is_public_name(host: str) -> bool:
    """Return whether a host can be a public one by its name, or by its address if that is given."""
    name = host.rstrip(".")
    try:
        # 127.1 and 2130706433 are addresses, too
        addresses = socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        parent, _, last = name.rpartition(".")
        return bool(parent) and last not in _PRIVATE_DOMAINS
    return is_public(ip_address(addresses[0][4][0]))
