"""Collectors that forget, and those that one does not wish: absent, silent, refusing, slow, …

with refusing("grpc") as endpoint:
    ...  # point OTEL_EXPORTER_OTLP_ENDPOINT at it
"""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.openwebui import HOST, free_port
from harness.otlp import Receiver

PROTOCOLS = ("grpc", "http/protobuf")
Answer = Callable[[str, bytes], int]
"""What to do with a request to a path: an HTTP status."""


@contextmanager
def absent(_protocol: str) -> Iterator[str]:
    """Nobody listens."""
    yield f"http://{HOST}:{free_port()}"


@contextmanager
def silent(_protocol: str) -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server((HOST, 0)) as server:
        yield f"http://{HOST}:{server.getsockname()[1]}"


@contextmanager
def taking(protocol: str = "grpc") -> Iterator[str]:
    """Takes everything and forgets it."""
    with _serving(protocol, lambda _path, _body: 200) as port:
        yield f"http://{HOST}:{port}"


@contextmanager
def refusing(protocol: str) -> Iterator[str]:
    """Says that it is not available."""
    with _serving(protocol, lambda _path, _body: 503) as port:
        yield f"http://{HOST}:{port}"


@contextmanager
def answering(protocol: str, status: int, code: str) -> Iterator[str]:
    """Answers everything with one status, or one code of gRPC's."""
    with _serving(protocol, lambda _path, _body: status, code=grpc.StatusCode[code]) as port:
        yield f"http://{HOST}:{port}"


@contextmanager
def untrusted(protocol: str) -> Iterator[str]:
    """Has a certificate that nobody has signed."""
    with (
        tempfile.TemporaryDirectory() as directory,
        _serving(protocol, lambda _path, _body: 200, _certificate(Path(directory))) as port,
    ):
        yield f"https://{HOST}:{port}"


@contextmanager
def slow(protocol: str, receiver: Receiver, seconds: float) -> Iterator[str]:
    """Takes its time, and hands on to a receiver."""

    def answer(path: str, body: bytes) -> int:
        time.sleep(seconds)
        headers = {"Content-Type": "application/x-protobuf"}
        url = f"{receiver.endpoint}{path}"
        return httpx.post(url, content=body, headers=headers, trust_env=False).status_code

    with _serving(protocol, answer) as port:
        yield f"http://{HOST}:{port}"


def _serving(
    protocol: str,
    answer: Answer,
    certificate: Path | None = None,
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
) -> AbstractContextManager[int]:
    if protocol == "grpc":
        return _grpc(answer, certificate, code)
    return _http(answer, certificate)


@contextmanager
def _http(answer: Answer, certificate: Path | None) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(answer(self.path, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class _Services(grpc.GenericRpcHandler):  # type: ignore[misc]
    """All services of OTLP, as bytes."""

    def __init__(self, answer: Answer, code: grpc.StatusCode) -> None:
        self._answer = answer
        self._code = code

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        # /opentelemetry.proto.collector.metrics.v1.MetricsService/Export
        path = "/v1/" + str(details.method).split(".")[3].replace("trace", "traces")

        def handle(body: bytes, context: grpc.ServicerContext) -> bytes:
            if self._answer(path, body) != 200:
                context.abort(self._code, "not now")
            return b""

        return grpc.unary_unary_rpc_method_handler(handle)


@contextmanager
def _grpc(answer: Answer, certificate: Path | None, code: grpc.StatusCode) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(8), handlers=[_Services(answer, code)])
    if certificate is None:
        port = server.add_insecure_port(f"{HOST}:0")
    else:
        pem = certificate.read_bytes()
        port = server.add_secure_port(f"{HOST}:0", grpc.ssl_server_credentials([(pem, pem)]))
    server.start()
    try:
        yield port
    finally:
        server.stop(None)


def _certificate(directory: Path) -> Path:
    """A key and a certificate that it has signed itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    file = directory / "own.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file
