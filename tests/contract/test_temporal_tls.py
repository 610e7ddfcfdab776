"""Temporal over TLS, as Temporal Cloud wants it: who is trusted, who is let in, and what is said where they are not."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.testing import WorkflowEnvironment

from incident.errors import PermanentError, TransientError
from integrations.temporal import TemporalSettings, connect
from tests.contract.tls_front import NAME, Front, Signed, signed, tls_front
from worker.settings import child_environment

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

PATIENCE = 60
KEY = "a0s1c2o0t0e1i2a0c1"
"""An API key of letters that HPACK writes in five bits each."""
_HUFFMAN = {
    " ": "010100",
    "B": "1011101",
    "r": "101100",
    **{letter: f"{code:05b}" for code, letter in enumerate("012aceiost")},
}
"""RFC 7541, appendix B; the ones that `Bearer KEY` is made of."""
Parties = dict[str, Signed]


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    directory = tmp_path_factory.mktemp("certificates")
    authority, stranger = signed(directory, "authority.test"), signed(directory, "stranger.test")
    over = timedelta(hours=-1)
    return {
        "authority": authority,
        "stranger": stranger,
        "server": signed(directory, NAME, authority),
        "late server": signed(directory / "..", "late.test", authority, over),
        "client": signed(directory, "client.test", authority),
        "strange client": signed(directory, "strange-client.test", stranger),
        "late client": signed(directory, "late-client.test", authority, over),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[str]:
    binary = str(Path(sys.executable).with_name("temporal"))
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=binary) as started:
        yield started.client.service_client.config.target_host


@pytest.fixture(scope="module")
def front(parties: Parties, server: str) -> Iterator[Front]:
    with tls_front(parties["server"], server) as started:
        yield started


@pytest.fixture(scope="module")
def door(parties: Parties, server: str) -> Iterator[Front]:
    """It lets in whom the authority has signed."""
    with tls_front(parties["server"], server, clients=parties["authority"]) as started:
        yield started


def _settings(address: str, parties: Parties, client: str = "", authority: str = "authority") -> TemporalSettings:
    own = parties.get(client)
    return TemporalSettings(
        address=address,
        tls_server_name=NAME,
        tls_ca_file=parties[authority].cert_file,
        tls_cert_file=own.cert_file if own else None,
        tls_key_file=own.key_file if own else None,
    )


def _on_the_wire(value: str) -> bytes:
    bits = "".join(_HUFFMAN[letter] for letter in value)
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


async def test_an_api_key_goes_out_as_a_bearer_and_only_within_tls(parties: Parties, front: Front) -> None:
    before = len(front.seen)
    settings = _settings(front.address, parties).model_copy(update={"api_key": SecretStr(KEY)})
    client = await connect(settings)
    assert await client.service_client.check_health()
    assert _on_the_wire(f"Bearer {KEY}") in front.seen[before:]
    assert front.protocols[-1] == "h2"  # gRPC wants it negotiated


async def test_without_an_api_key_none_is_sent(parties: Parties, front: Front) -> None:
    before = len(front.seen)
    await connect(_settings(front.address, parties))
    assert len(front.seen) > before
    assert _on_the_wire("Bearer ")[:-1] not in front.seen[before:]


async def test_a_client_certificate_opens_the_door(parties: Parties, door: Front) -> None:
    client = await connect(_settings(door.address, parties, "client"))
    assert await client.service_client.check_health()


@pytest.mark.parametrize("client", ["", "strange client", "late client"])
async def test_without_a_certificate_that_holds_the_door_stays_shut(parties: Parties, door: Front, client: str) -> None:
    with pytest.raises(PermanentError, match=r"refuses the client certificate, or wants one.*TEMPORAL__TLS_CERT_FILE"):
        await connect(_settings(door.address, parties, client))


async def test_a_server_that_another_authority_signed_is_not_trusted(parties: Parties, front: Front) -> None:
    before = len(front.seen)
    with pytest.raises(PermanentError, match=r"is not trusted \(setting TEMPORAL__TLS_CA_FILE\)"):
        await connect(_settings(front.address, parties, authority="stranger"))
    with pytest.raises(PermanentError, match=r"is not trusted \(setting TEMPORAL__TLS_CA_FILE\)"):
        await connect(TemporalSettings(address=front.address, api_key=SecretStr(KEY), tls_server_name=NAME))
    assert len(front.seen) == before, "something was said to it"


async def test_a_server_of_another_name_is_not_trusted(parties: Parties, front: Front) -> None:
    settings = _settings(front.address, parties)
    with pytest.raises(PermanentError, match=r"another name \(setting TEMPORAL__TLS_SERVER_NAME\)"):
        await connect(settings.model_copy(update={"tls_server_name": "elsewhere.test"}))
    with pytest.raises(PermanentError, match=r"another name \(setting TEMPORAL__TLS_SERVER_NAME\)"):
        await connect(settings.model_copy(update={"tls_server_name": ""}))


async def test_a_server_whose_certificate_has_expired_is_not_trusted(parties: Parties, server: str) -> None:
    with tls_front(parties["late server"], server) as late, pytest.raises(PermanentError, match="has expired"):
        await connect(_settings(late.address, parties).model_copy(update={"tls_server_name": "late.test"}))


async def test_a_key_of_another_certificate_is_named(parties: Parties, front: Front) -> None:
    settings = _settings(front.address, parties, "client")
    other = parties["strange client"].key_file
    with pytest.raises(PermanentError, match=r"key of another certificate \(setting TEMPORAL__TLS_KEY_FILE\)"):
        await connect(settings.model_copy(update={"tls_key_file": other}))


async def test_speaking_plainly_to_tls_and_tls_to_who_speaks_plainly_is_told(
    parties: Parties, front: Front, server: str
) -> None:
    with pytest.raises(TransientError, match=r"hung up.*TEMPORAL__TLS"):
        await connect(TemporalSettings(address=front.address))
    with pytest.raises(PermanentError, match=r"does not speak TLS \(setting TEMPORAL__TLS\)"):
        await connect(_settings(server, parties))


@dataclass(frozen=True)
class Status:
    """How gRPC numbers a refusal, and what is said of it."""

    number: int
    said: str


@asynccontextmanager
async def _refusing(status: Status) -> AsyncIterator[str]:
    """A server that answers every call with that status; HTTP/2 as far as that takes."""
    settings = b"\0\0\0\x04\0" + b"\0\0\0\0"
    fields = {b"content-type": b"application/grpc", b"grpc-status": str(status.number).encode()}
    block = b"\x88" + b"".join(  # 200, and then names and values as they are (RFC 7541 §6.2.2)
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields.items()
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)
        writer.write(settings)
        try:
            while True:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == 1:  # headers
                    writer.write(len(block).to_bytes(3, "big") + b"\x01\x05" + head[5:] + block)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield "{}:{}".format(*listening.sockets[0].getsockname()[:2])


@pytest.mark.parametrize(
    "status",
    [
        Status(16, r"refuses the API key \(setting TEMPORAL__API_KEY\)"),
        Status(7, r"does not let this API key or certificate in \(setting TEMPORAL__NAMESPACE\)"),
    ],
)
async def test_a_key_that_is_refused_is_named_and_never_shown(parties: Parties, status: Status) -> None:
    async with _refusing(status) as target:
        with tls_front(parties["server"], target) as front, pytest.raises(PermanentError, match=status.said) as refused:
            await connect(_settings(front.address, parties).model_copy(update={"api_key": SecretStr(KEY)}))
    assert KEY not in str(refused.value)


async def _run(module: str, directory: Path, environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        cwd=directory,
        env=child_environment(**environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_worker_takes_work_and_is_promoted_through_a_door_that_wants_a_certificate(
    parties: Parties, door: Front, tmp_path: Path
) -> None:
    source = '{ kind = "mock", url = "http://127.0.0.1:9" }'
    (tmp_path / "services.toml").write_text(f'[[service]]\nname = "payment-api"\nsource = {source}\n')
    environment = {
        "TEMPORAL__ADDRESS": door.address,
        "TEMPORAL__TLS_SERVER_NAME": NAME,
        "TEMPORAL__TLS_CA_FILE": str(parties["authority"].cert_file),
        "TEMPORAL__TLS_CERT_FILE": str(parties["client"].cert_file),
        "TEMPORAL__TLS_KEY_FILE": str(parties["client"].key_file),
        "WORKER__HEALTH_BIND": "127.0.0.1:0",
        "WORKER__BUILD_ID": "behind-the-door",
    }
    worker = await _run("worker", tmp_path, environment)
    try:
        promotion = await _run("worker.promote", tmp_path, environment)
        async with asyncio.timeout(PATIENCE):
            out, err = await promotion.communicate()
        assert (promotion.returncode, err) == (0, b"")
        assert out == b"new incidents go to build behind-the-door of incident-commander\n"
    finally:
        worker.terminate()
        async with asyncio.timeout(PATIENCE):
            await worker.communicate()
    assert worker.returncode == 0


async def test_a_process_that_cannot_trust_its_server_says_so_in_a_line_and_exits_two(
    parties: Parties, front: Front, tmp_path: Path
) -> None:
    environment = {
        "TEMPORAL__ADDRESS": front.address,
        "TEMPORAL__TLS_SERVER_NAME": NAME,
        "TEMPORAL__TLS_CA_FILE": str(parties["stranger"].cert_file),
    }
    promotion = await _run("worker.promote", tmp_path, environment)
    async with asyncio.timeout(PATIENCE):
        out, err = await promotion.communicate()
    assert (promotion.returncode, out) == (2, b"")
    said = f"temporal: {front.address} has a certificate that is not trusted (setting TEMPORAL__TLS_CA_FILE)\n"
    assert err.decode() == said
