"""TLS in front of a Temporal server: certificates of an authority of the test's own, and a relay that speaks by them.

The relay is threads, not asyncio's streams: those hang up on a client whose certificate they refuse, where a server
says so by an alert.
"""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME = "temporal.test"
"""What the server's certificate is for."""
_CHUNK = 65536


@dataclass(frozen=True)
class Signed:
    """A certificate, its key, and the files that hold them."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    cert_file: Path
    key_file: Path


def signed(directory: Path, name: str, by: Signed | None = None, ends_in: timedelta = timedelta(hours=1)) -> Signed:
    """A certificate for `name`: of an authority where nobody signs it, expired where `ends_in` is negative."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + ends_in)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    files = Signed(certificate, key, directory / f"{name}.crt", directory / f"{name}.key")
    files.cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


class Front:
    """What came through the relay, in the clear."""

    def __init__(self, context: ssl.SSLContext, target: tuple[str, int]) -> None:
        self._context, self._target = context, target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listening]
        self._threads: list[threading.Thread] = []
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.seen = bytearray()
        """All that clients have sent."""
        self.protocols: list[str | None] = []
        """What each connection agreed to speak."""

    def start(self) -> None:
        """Takes connections, until `stop`."""
        self._spawn(self._listen)

    def stop(self) -> None:
        """Ends every connection."""
        for each in self._open:
            with suppress(OSError):  # it may have ended by itself
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _spawn(self, what: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        with suppress(OSError):  # how `stop` ends it
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        # How `stop` ends it: a socket that is closed has no descriptor to wait for, which is a ValueError.
        with suppress(OSError, ValueError), connection:
            client = self._accepted(connection)
            self._open.append(client)
            self.protocols.append(client.selected_alpn_protocol())
            with client, socket.create_connection(self._target) as server:
                self._relay(client, server)

    def _accepted(self, connection: socket.socket) -> ssl.SSLSocket:
        refused = connection.dup()
        with refused:
            try:
                return self._context.wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                # Closed before all has been read, the connection would be reset, and the alert lost.
                refused.shutdown(socket.SHUT_WR)
                while refused.recv(_CHUNK):
                    pass
                raise

    def _relay(self, client: ssl.SSLSocket, server: socket.socket) -> None:
        while True:
            # TLS may hold bytes that the socket has given already.
            for source in [client] if client.pending() else select.select([client, server], [], [])[0]:
                data = source.recv(_CHUNK)
                if not data:
                    return
                if source is client:
                    self.seen += data
                    server.sendall(data)
                else:
                    client.sendall(data)


@contextmanager
def tls_front(server: Signed, target: str, clients: Signed | None = None) -> Iterator[Front]:
    """A relay to `target`, host:port, that asks for a certificate signed by `clients` where that is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.cert_file, server.key_file)
    context.set_alpn_protocols(["h2"])
    if clients:
        context.load_verify_locations(clients.cert_file)
        context.verify_mode = ssl.CERT_REQUIRED
    host, _, port = target.rpartition(":")
    front = Front(context, (host, int(port)))
    front.start()
    try:
        yield front
    finally:
        front.stop()
