"""What encrypts payloads: what it hides, what it reads back, and what it refuses to read."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from incident.errors import ConfigurationError, PermanentError
from integrations.codec import EncryptionCodec, build_converter, parse_keys
from integrations.temporal import TemporalSettings

OLD, NEW, EVIL = (letter * 32 for letter in (b"o", b"n", b"e"))
PLAIN = Payload(metadata={"encoding": b"json/plain", "k": b"v"}, data=b'"the pool is empty"')


def _pair(name: str, key: bytes) -> str:
    return f"{name}={base64.b64encode(key).decode()}"


async def _sealed(payload: Payload = PLAIN, **keys: bytes) -> Payload:
    (sealed,) = await EncryptionCodec(keys or {"old": OLD}).encode([payload])
    return sealed


payloads_of_all_kinds = st.builds(
    Payload, metadata=st.dictionaries(st.text(max_size=9), st.binary(max_size=9)), data=st.binary(max_size=200)
)


@settings(derandomize=True)
@given(st.lists(payloads_of_all_kinds, max_size=3))
async def test_what_was_encrypted_comes_back_whole_and_in_order(payloads: list[Payload]) -> None:
    codec = EncryptionCodec({"old": OLD})
    assert await codec.decode(await codec.encode(payloads)) == payloads


async def test_an_encrypted_payload_says_its_key_and_nothing_else() -> None:
    sealed = await _sealed()
    assert dict(sealed.metadata) == {"encoding": b"binary/encrypted", "encryption-key-id": b"old"}
    for text in (b"pool", b"json/plain"):
        assert text not in sealed.SerializeToString()


async def test_the_same_payload_is_never_encrypted_to_the_same_bytes() -> None:
    assert (await _sealed()).data != (await _sealed()).data


async def test_the_first_key_encrypts_and_all_decrypt() -> None:
    both = EncryptionCodec({"new": NEW, "old": OLD})
    assert await both.decode([await _sealed(), await _sealed(new=NEW)]) == [PLAIN, PLAIN]
    (sealed,) = await both.encode([PLAIN])
    assert sealed.metadata["encryption-key-id"] == b"new"


async def test_what_nobody_encrypted_stays_as_it_is() -> None:
    assert await EncryptionCodec({"old": OLD}).decode([PLAIN, Payload()]) == [PLAIN, Payload()]


async def test_a_key_that_is_not_known_is_named() -> None:
    with pytest.raises(PermanentError, match="what key old encrypted, which TEMPORAL__CODEC_KEYS lacks"):
        await EncryptionCodec({"new": NEW}).decode([await _sealed()])


def _changed(sealed: Payload, what: str) -> Payload:
    match what:
        case "a byte":
            return Payload(metadata=sealed.metadata, data=sealed.data[:-1] + bytes([sealed.data[-1] ^ 1]))
        case "the nonce":
            return Payload(metadata=sealed.metadata, data=bytes(12) + sealed.data[12:])
        case "the end":
            return Payload(metadata=sealed.metadata, data=sealed.data[:-1])
        case "all":
            return Payload(metadata=sealed.metadata, data=b"")
        case _:
            return Payload(metadata={**sealed.metadata, "encryption-key-id": b"twin"}, data=sealed.data)


@pytest.mark.parametrize("what", ["a byte", "the nonce", "the end", "all", "the key's id"])
async def test_what_was_changed_since_is_refused(what: str) -> None:
    codec = EncryptionCodec({"old": OLD, "twin": OLD})
    with pytest.raises(PermanentError, match="did not encrypt, or what was changed since"):
        await codec.decode([_changed(await _sealed(), what)])


async def test_another_key_under_the_same_id_is_refused() -> None:
    with pytest.raises(PermanentError, match="what key old did not encrypt"):
        await EncryptionCodec({"old": EVIL}).decode([await _sealed()])


async def test_an_id_that_is_none_is_not_repeated() -> None:
    sealed = await _sealed()
    odd = Payload(metadata={**sealed.metadata, "encryption-key-id": b"\x1b[31m\xff"}, data=sealed.data)
    with pytest.raises(PermanentError, match="what key without a name encrypted"):
        await EncryptionCodec({"old": OLD}).decode([odd])


async def test_what_failures_say_is_encrypted_as_well() -> None:
    converter, failure = build_converter(EncryptionCodec({"old": OLD})), Failure()
    await converter.encode_failure(ApplicationError("the pool is empty", "in detail"), failure)
    kept = failure.SerializeToString()
    assert b"pool" not in kept
    assert b"in detail" not in kept
    read = await converter.decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert (read.message, tuple(read.details)) == ("the pool is empty", ("in detail",))


def test_without_keys_nothing_is_other_than_before() -> None:
    assert TemporalSettings().codec() is None
    assert build_converter(None) is pydantic_data_converter


def test_keys_are_read_in_their_order() -> None:
    assert list(parse_keys(f"{_pair('new', NEW)}, {_pair('old', OLD)}").items()) == [("new", NEW), ("old", OLD)]
    assert TemporalSettings(codec_keys=SecretStr(_pair("new", NEW))).codec()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "new",
        "new=",
        "=" + base64.b64encode(NEW).decode(),
        "new=s3cret-and-no-base64",
        _pair("new", b"short"),
        _pair("new", NEW + b"x"),
        _pair("a b", NEW),
        _pair("new", NEW) + ",",
        f"{_pair('new', NEW)},{_pair('new', OLD)}",
    ],
)
def test_keys_that_cannot_be_used_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TemporalSettings(codec_keys=SecretStr(text)).codec()
    assert str(caught.value).startswith("TEMPORAL__CODEC_KEYS: expected id=key pairs")
    assert "s3cret" not in str(caught.value)
    assert base64.b64encode(NEW).decode()[:10] not in str(caught.value)
