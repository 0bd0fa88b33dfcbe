"""Storage of API keys and their scopes in the database."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from app.database.database import Database
from app.database.tables import Key, now
from app.errors import Conflict, InvalidField, NotFound


class Scope(StrEnum):
    """What a key allows. `ADMIN` includes the other scopes, which do not include each other."""

    PREDICT = "predict"
    TRAIN = "train"
    ADMIN = "admin"


KEY_PREFIX: Final = "mynet"
ID_BYTES: Final = 6
SECRET_BYTES: Final = 24
# Without spaces, so that a name in a log line cannot be mistaken for other fields.
NAME: Final = re.compile(r"[\w.@+-]{1,64}", re.ASCII)


class KeyStore:
    """The keys in a database. Every call raises NotReady if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(
        self, name: str, scopes: Iterable[Scope], days: int | None = None
    ) -> tuple[Key, str]:
        """Create a key; return its row and the full key, which is not stored.

        Raises InvalidField if the name has a character that is not allowed.
        """
        if not NAME.fullmatch(name):
            raise InvalidField(
                f"The name {name[:64]!r} is not valid. Use 1 to 64 letters, digits, or any of "
                ". _ - @ +"
            )
        key, full_key = _new_key(name, scopes, None if days is None else timedelta(days=days))
        self.database.write(lambda session: session.add(key))
        return key, full_key

    def rotate(self, key_id: str, grace_seconds: int) -> tuple[Key, str]:
        """Create a key with the name, scopes and lifetime of another, which expires after a while.

        Returns the row of the new key and the full key. Raises NotFound, or Conflict if the old
        key is not valid any more.
        """

        def work(session: Session) -> tuple[Key, str]:
            old = _get(session, key_id)
            if not is_valid(old):
                raise Conflict(f"The key {key_id} is expired or revoked. Create a new one.")
            lifetime = old.expires_at - old.created_at if old.expires_at else None
            key, full_key = _new_key(old.name, old.scopes, lifetime)
            end = key.created_at + timedelta(seconds=grace_seconds)
            old.expires_at = min(end, old.expires_at or end)
            session.add(key)
            return key, full_key

        return self.database.write(work)

    def all(self) -> Sequence[Key]:
        """List all keys, oldest first, including expired and revoked ones."""
        with self.database.read() as session:
            return session.scalars(select(Key).order_by(Key.created_at)).all()

    def valid(self) -> list[Key]:
        """List the keys that are valid now."""
        with self.database.read() as session:
            rows = session.scalars(select(Key).where(Key.revoked_at.is_(None)))
            return [key for key in rows if is_valid(key)]

    def store_last_used(self, times: Mapping[str, datetime]) -> None:
        """Store when each key was last used. A later time of another process stays."""

        def work(session: Session) -> None:
            # In one order, so that no two processes wait for rows of each other.
            for key_id, time in sorted(times.items()):
                is_later = or_(Key.last_used.is_(None), Key.last_used < time)
                change = update(Key).where(Key.id == key_id, is_later).values(last_used=time)
                session.execute(change)

        self.database.write(work)

    def revoke(self, key_id: str) -> Key:
        """Revoke a key. Raises NotFound, Conflict."""

        def work(session: Session) -> Key:
            key = _get(session, key_id)
            if key.revoked_at is not None:
                raise Conflict(f"The key {key_id} is already revoked.")
            key.revoked_at = now()
            return key

        return self.database.write(work)


def _new_key(name: str, scopes: Iterable[str], lifetime: timedelta | None) -> tuple[Key, str]:
    """Return the row of a new key, and the full key."""
    key_id, created_at = secrets.token_hex(ID_BYTES), now()
    full_key = f"{KEY_PREFIX}_{key_id}_{secrets.token_hex(SECRET_BYTES)}"
    key = Key(
        id=key_id,
        name=name,
        digest=digest(full_key.encode()),
        scopes=sorted(set(scopes)),
        created_at=created_at,
        expires_at=lifetime and created_at + lifetime,
    )
    return key, full_key


def _get(session: Session, key_id: str) -> Key:
    """Return the key with this id. Raises NotFound."""
    key = session.get(Key, key_id)
    if key is None:
        raise NotFound(f"The key {key_id!r} does not exist. `mynet keys list` lists all keys.")
    return key


def digest(key: bytes) -> str:
    """Return the digest of a key that is stored instead of the key.

    A fast digest suffices: 192 random bits cannot be guessed, unlike a password.
    """
    return hashlib.sha256(key).hexdigest()


def key_id_from(key: bytes) -> str:
    """Return the id in a key, or an empty string if the key has another form."""
    brand, _, rest = key.partition(b"_")
    return rest.partition(b"_")[0].decode("latin-1") if brand == KEY_PREFIX.encode() else ""


def is_valid(key: Key) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now())


def allows(key: Key, required_scope: Scope | None) -> bool:
    """Return whether a key has the required scope; None means any key."""
    return required_scope is None or required_scope in key.scopes or Scope.ADMIN in key.scopes
