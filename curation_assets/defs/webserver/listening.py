"""Where the UI listens, under which names, and with which password: settled before anything is started."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from curation_assets.config.profile import ProfileError

PASSWORD = "CURATION_UI_PASSWORD"
_LEAST = 8  # characters of a password


@dataclass(frozen=True)
class Listening:
    """A socket that listens: nobody else can have its port, and who connects early waits for the server.

    Attributes
    ----------
    bound : the socket.
    url : what to open in a browser.
    names : values of the header Host that are its own.
    password : "" where none is asked for.
    """

    bound: socket.socket
    url: str
    names: list[str]
    password: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `open_for` reads."""
    parser.add_argument("--port", type=int, default=3000, help="port to listen on (default: 3000)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: 127.0.0.1); beyond loopback a password is needed",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME[:PORT]",
        help="another name that the server is reached by, through a proxy or a tunnel; may be repeated",
    )
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"file whose first line is the password (default: the variable {PASSWORD}; none on loopback)",
    )


def open_for(options: argparse.Namespace) -> Listening:
    """Bind the socket that the options ask for.

    Raises
    ------
    ProfileError
        The port or the address cannot be had, or a password is missing, unreadable or too short.
    """
    password = _password(options.password_file)
    family, address = _address(options.host, options.port)
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    if not ip.is_loopback and not password:
        raise ProfileError(
            f"beyond loopback the UI needs a password: set {PASSWORD} or --password-file, or leave out --host "
            f"{options.host} and come through SSH"
        )
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen()
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise ProfileError(
            f"port {options.port} of {options.host} cannot be used ({reason}): take another with --port"
        ) from None
    port = bound.getsockname()[1]
    here = "127.0.0.1" if ip.is_unspecified else options.host
    return Listening(
        bound,
        f"http://{_bracketed(here)}:{port}",
        _names(options.host, ip, port, options.allowed_host),
        password,
    )


def _password(file: Path | None) -> str:
    """Return the password, and take it out of the environment: nothing that is started needs to see it there."""
    password = os.environ.pop(PASSWORD, "")
    if file is not None:
        try:
            password = file.expanduser().read_text("utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"{file}: cannot read this password: {error}") from None
    try:
        password.encode()
    except UnicodeEncodeError:
        raise ProfileError(f"{PASSWORD}: the password is not UTF-8") from None
    if (password or file) and len(password) < _LEAST:
        raise ProfileError(f"the UI's password is too short: it needs {_LEAST} characters")
    return password


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ProfileError(f"{host}: no address of this machine: {error}") from None
    family, _, _, _, address = min(
        addresses, key=lambda each: each[0] != socket.AF_INET
    )  # IPv4 where both are there
    return family, (str(address[0]), port)


def _names(
    host: str, ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, more: list[str]
) -> list[str]:
    """Return the names that requests may call the server by: no name that a stranger could point here is among them."""
    names = ["127.0.0.1", "localhost", "::1", host, str(ip)]
    if ip.is_unspecified:
        cards = psutil.net_if_addrs().values()
        names = [*names[:3], socket.gethostname()]
        names += [
            a.address.partition("%")[0]
            for card in cards
            for a in card
            if a.family in (socket.AF_INET, socket.AF_INET6)
        ]
    allowed = {f"{_bracketed(name)}:{port}" for name in names}
    if port == 80:
        allowed |= {_bracketed(name) for name in names}
    for name in map(_bracketed_address, more):
        bare = name.endswith("]") or ":" not in name
        allowed |= {name, f"{name}:{port}"} if bare else {name}
    return sorted(allowed)


def _bracketed_address(name: str) -> str:
    """Put brackets around a bare IPv6 address, as browsers do; other names stay as they are."""
    try:
        return _bracketed(str(ipaddress.ip_address(name)))
    except ValueError:
        return name


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
