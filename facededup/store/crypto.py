"""Keys of encrypted stores, and the cipher.

    the user's key --scrypt, salt--> opens the store's own key --HKDF, purpose--> the key of one file

The store's key is random and lies, encrypted, in the head of the store's file; so each file has a key of its
own, and slow scrypt runs once for all of them. Everything is AES-256-GCM (NIST SP
800-38D) with a random nonce for each piece; what a piece is and where it belongs is authenticated with it.
scrypt is RFC 7914, HKDF is RFC 5869 with SHA-256.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from facededup.errors import PackageMissingError, PathNotFoundError, UsageError, WrongKeyError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENVIRONMENT_KEY = "FACEDEDUP_KEY"
SCRYPT_COST = 17
"""Base-2 logarithm of scrypt's N for new stores: 128 MiB (as OWASP's Password Storage Cheat Sheet has it)."""

_LARGEST_COST = 20
_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_SHORTEST_SECRET = 16
_LONGEST_SECRET = 1 << 16
_LOCK = struct.Struct(f"<B16s{_NONCE_BYTES + _KEY_BYTES + _TAG_BYTES}s")

OVERHEAD = _NONCE_BYTES + _TAG_BYTES
"""Bytes by which a sealed piece is longer."""
LOCK_BYTES = _LOCK.size
"""Length of `StoreKey.lock`."""


@dataclass(frozen=True, slots=True)
class Key:
    """What the user gives: the content of a key file, or of the environment."""

    secret: bytes

    def __repr__(self) -> str:
        return "Key(...)"  # never in a traceback or a log


def load_key(key_file: str | None) -> Key | None:
    """The key in a file, else in the environment's FACEDEDUP_KEY, else None.

    Line ends behind it do not count.

    Raises:
        PathNotFoundError: There is no such file.
        UsageError: It cannot be read, or is no key.
    """
    if key_file is None:
        text = os.environ.get(ENVIRONMENT_KEY)
        return None if text is None else _checked(os.fsencode(text), ENVIRONMENT_KEY)
    try:
        with open(key_file, "rb") as file:
            content = file.read(_LONGEST_SECRET + 1)
    except FileNotFoundError as exc:
        raise PathNotFoundError(f"there is no key file {key_file!r}") from exc
    except OSError as exc:
        raise UsageError(f"the key file {key_file!r} cannot be read: {exc.strerror}") from exc
    return _checked(content, f"the key file {key_file!r}")


def _checked(content: bytes, origin: str) -> Key:
    secret = content.rstrip(b"\r\n")
    if not _SHORTEST_SECRET <= len(secret) <= _LONGEST_SECRET:
        raise UsageError(
            f"{origin} holds no key: a key has at least {_SHORTEST_SECRET} bytes; "
            "make one with `openssl rand -base64 32`"
        )
    return Key(secret)


class Cipher:
    """Seals and opens the pieces of one file; safe to use from several threads."""

    def __init__(self, key: bytes) -> None:
        self._aead = _aead(key)

    def seal(self, data: bytes | bytearray | memoryview, bound: bytes) -> bytes:
        """A piece, encrypted; `OVERHEAD` bytes longer.

        Args:
            data: The piece.
            bound: What it is and where it belongs; `open` needs the same.
        """
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data, bound)

    def open(self, sealed: bytes | memoryview, bound: bytes) -> bytes:
        """The piece that `seal` was given.

        Raises:
            ValueError: It is not the piece that was sealed there.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead.decrypt(bytes(sealed[:_NONCE_BYTES]), sealed[_NONCE_BYTES:], bound)
        except InvalidTag as exc:
            raise ValueError("an encrypted piece differs from what was written") from exc


@dataclass(frozen=True)
class StoreKey:
    """A store's own key.

    Attributes:
        data_key: 32 random bytes.
        lock: The same, encrypted by the user's key; `LOCK_BYTES` long, to be kept in the open.
    """

    data_key: bytes
    lock: bytes

    def __repr__(self) -> str:
        return "StoreKey(...)"

    @classmethod
    def create(cls, key: Key) -> Self:
        """A new one.

        Raises:
            PackageMissingError: The package for it is not installed.
        """
        data_key, salt = os.urandom(_KEY_BYTES), os.urandom(16)
        wrapped = Cipher(_stretch(key.secret, salt, SCRYPT_COST)).seal(data_key, b"store key")
        return cls(data_key, _LOCK.pack(SCRYPT_COST, salt, wrapped))

    @classmethod
    def unlock(cls, lock: bytes, key: Key, path: str) -> Self:
        """The one behind an undamaged `lock`, which lies in the file `path`.

        Raises:
            WrongKeyError: The key is not the one it was made with.
            PackageMissingError: The package for it is not installed.
        """
        cost, salt, wrapped = _LOCK.unpack(lock)
        if cost > _LARGEST_COST:  # what was not made here must not take all memory
            raise WrongKeyError(f"{path!r} was not encrypted by facededup: no key opens it")
        try:
            return cls(Cipher(_stretch(key.secret, salt, cost)).open(wrapped, b"store key"), lock)
        except ValueError as exc:
            raise WrongKeyError(
                f"the key given does not open {path!r}; give the one it was encrypted with"
            ) from exc

    def cipher(self, purpose: bytes) -> Cipher:
        """The cipher of one file; `purpose` names the file and is never used for another."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return Cipher(HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose).derive(self.data_key))


@lru_cache(maxsize=8)
def _stretch(secret: bytes, salt: bytes, cost: int) -> bytes:
    _require_package()
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=_KEY_BYTES, n=1 << cost, r=8, p=1).derive(secret)


def _aead(key: bytes) -> AESGCM:
    _require_package()
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _require_package() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as exc:
        raise PackageMissingError(
            "an encrypted store needs the package cryptography; "
            "install it with `pip install 'facededup[encrypt]'`"
        ) from exc
