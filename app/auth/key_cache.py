"""The keys that are known in this process, looked up without asking the database.

What enters: what a client sent. What leaves: the key that it is. This module does not know what
keys open.
"""

import asyncio
import logging
from hmac import compare_digest
from typing import Final

from app.auth import keys as issued
from app.auth.keys import KeyStore, Scope
from app.database.tables import Key, now

POLL: Final = 0.5
LONGEST: Final = 512
ADMIN_ID: Final = "admin"
ADMIN_NAME: Final = "MYNET_ADMIN_KEY"
log = logging.getLogger(__name__)


class KeyCache:
    """The keys of the database, as they were half a second ago, and the first key."""

    def __init__(self, keys: KeyStore, admin: str | None) -> None:
        self.keys = keys
        self._admin = _admin_key(admin) if admin else None
        self._known: dict[str, Key] = {}

    def find(self, given: bytes) -> Key | None:
        """Give the key that this is, unless it is none."""
        if not 0 < len(given) <= LONGEST:
            return None
        digest = issued.digest(given)
        for key in (self._admin, self._known.get(issued.id_of(given))):
            if key and compare_digest(digest, key.digest) and issued.is_valid(key):
                return key
        return None

    def refresh(self) -> None:
        """Take over what the database says. Raises NotReady."""
        before, after = self._known, {key.id: key for key in self.keys.valid()}
        self._known = after
        for key in _missing(after, before):
            log.info("key %s (%s) is known: %s", key.id, key.name, ", ".join(key.scopes))
        for key in _missing(before, after):
            log.info("key %s (%s) is known no more", key.id, key.name)

    async def watch(self) -> None:
        """Follow the database until cancelled. While it is away, what was known goes on."""
        away = False
        while True:
            await asyncio.sleep(POLL)
            try:
                await asyncio.to_thread(self.refresh)
                away = False
            except Exception as error:  # whatever it is: who no longer looks sees nothing revoked
                if not away:
                    log.error("keys cannot be read; those known before go on: %s", error)
                away = True


def _admin_key(admin: str) -> Key:
    return Key(
        id=ADMIN_ID,
        name=ADMIN_NAME,
        digest=issued.digest(admin.encode()),
        scopes=[Scope.ADMIN],
        created_at=now(),
        expires_at=None,
        revoked_at=None,
    )


def _missing(here: dict[str, Key], there: dict[str, Key]) -> list[Key]:
    return [here[key_id] for key_id in here.keys() - there.keys()]
