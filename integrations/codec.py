"""What Temporal keeps, encrypted with AES-256-GCM before it leaves this process; off where there is no key.

Payloads are all arguments, results, memos, summaries and, with the failure converter beside it, what failures say. Ids,
names of types and queues, and search attributes are none: the server must read them.
"""

import base64
import binascii
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from incident.errors import ConfigurationError, PermanentError

_SYSTEM = "temporal"
_ENCODING = b"binary/encrypted"
"""What the documentation and samples of Temporal call it; the Web UI shows it where nothing decodes."""
_KEY_ID = "encryption-key-id"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = 32
"""Bytes of a key for AES-256."""
_NONCE = 12
"""Bytes of a nonce (NIST SP 800-38D §8.2): drawn anew for each payload, a key is good for some 2^32 of them."""


def parse_keys(text: str) -> dict[str, bytes]:
    """The keys that `text` holds, `id=base64` each, parted by commas, in their order.

    Raises:
        ConfigurationError: it holds none, or one that cannot be used; what was given is not shown.
    """
    pairs = [each.strip().partition("=") for each in text.split(",")]
    try:
        keys = {name: base64.b64decode(encoded, validate=True) for name, _, encoded in pairs}
    except binascii.Error:
        keys = {}
    fits = all(_ID.fullmatch(name) and len(key) == _KEY for name, key in keys.items())
    if not fits or len(keys) != len(pairs):
        expected = f"id=key pairs parted by commas, each id once, each key {_KEY} bytes in base64"
        raise ConfigurationError(f"TEMPORAL__CODEC_KEYS: expected {expected}")
    return keys


class EncryptionCodec(PayloadCodec):
    """Encrypts with the first key, and decrypts what any of them encrypted: a new key is put before the old ones.

    Args:
        keys: 32 bytes each, by id; an id never gets another key.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._current = next(iter(self._ciphers))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload in a payload that says only with which key it is encrypted."""
        return [self._encrypted(each) for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload as it was; one that nobody encrypted stays as it is.

        Raises:
            PermanentError: no key is known by that id, or it is not what was encrypted.
        """
        return [self._decrypted(each) if _encoding(each) == _ENCODING else each for each in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self._current].encrypt(nonce, payload.SerializeToString(), _context(self._current))
        return Payload(metadata={"encoding": _ENCODING, _KEY_ID: self._current}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        name = payload.metadata.get(_KEY_ID, b"")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise PermanentError(_SYSTEM, f"holds what key {_shown(name)} encrypted, which TEMPORAL__CODEC_KEYS lacks")
        try:
            opened = cipher.decrypt(payload.data[:_NONCE], payload.data[_NONCE:], _context(name))
            return Payload.FromString(opened)
        except (InvalidTag, ValueError, DecodeError) as error:
            problem = f"holds what key {_shown(name)} did not encrypt, or what was changed since"
            raise PermanentError(_SYSTEM, problem) from error


def build_converter(codec: PayloadCodec | None) -> DataConverter:
    """How values become payloads; with a codec, what failures say is encoded as well."""
    if codec is None:
        return pydantic_data_converter
    return dataclasses.replace(
        pydantic_data_converter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def _encoding(payload: Payload) -> bytes:
    return payload.metadata.get("encoding", b"")


def _context(name: bytes) -> bytes:
    return _ENCODING + b"\0" + name


def _shown(name: bytes) -> str:
    text = name.decode("ascii", "replace")
    return text if _ID.fullmatch(text) else "without a name"
