"""What speaks at an address: found out by talking to it, as briefly as can be."""

from __future__ import annotations

import socket
import ssl
from enum import Enum
from typing import Final

_SECONDS: Final = 1.0
_ENOUGH: Final = 64
# HTTP/2's connection preface (RFC 9113) and an empty frame of settings.
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS_FRAME: Final = 4


class Found(Enum):
    """What speaks there."""

    NO_HOST = "no host of that name is known"
    NOBODY = "nothing listens there"
    UNREACHED = "it does not answer: there is no way to it, or something is in the way"
    SILENT = "it takes connections and says nothing"
    TLS = "it speaks TLS"
    HTTP = "it speaks HTTP, without TLS"
    GRPC = "it speaks gRPC, without TLS"
    OTHER = "what it speaks is neither gRPC nor HTTP"


def speaks(host: str, port: int) -> Found:
    """Return what speaks at an address."""
    try:
        _connect(host, port).close()
    except socket.gaierror:
        return Found.NO_HOST
    except ConnectionRefusedError:
        return Found.NOBODY
    except OSError:
        return Found.UNREACHED
    if _speaks_tls(host, port):
        return Found.TLS
    return _plain(host, port)


def distrusted(host: str, port: int, authorities: str | None) -> str:
    """Return why the certificate at an address is not trusted; empty if it is."""
    try:
        context = ssl.create_default_context(cafile=authorities)
        with _connect(host, port) as plain, context.wrap_socket(plain, server_hostname=host):
            return ""
    except ssl.SSLCertVerificationError as error:
        return str(error.verify_message)
    except (OSError, ValueError):
        return ""


def _plain(host: str, port: int) -> Found:
    asked = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii", "ignore")
    answer = _answer(host, port, asked)
    if answer.startswith(b"HTTP/1"):
        return Found.HTTP
    if not _is_settings(answer):
        answer = _answer(host, port, _PREFACE)
    if _is_settings(answer):
        return Found.GRPC
    return Found.OTHER if answer else Found.SILENT


def _connect(host: str, port: int) -> socket.socket:
    connected = socket.create_connection((host, port), timeout=_SECONDS)
    connected.settimeout(_SECONDS)
    return connected


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _connect(host, port) as plain, context.wrap_socket(plain, server_hostname=host):
            return True
    except ssl.SSLError as error:
        # It speaks it, and wants a certificate of ours, or another version.
        return "ALERT" in str(error.reason)
    except (OSError, ValueError):
        return False


def _answer(host: str, port: int, sent: bytes) -> bytes:
    try:
        with _connect(host, port) as connected:
            connected.sendall(sent)
            return connected.recv(_ENOUGH)
    except OSError:
        return b""


def _is_settings(answer: bytes) -> bool:
    return len(answer) > 3 and answer[3] == _SETTINGS_FRAME and not answer.startswith(b"HTTP")
