"""In-memory cache of the API keys, refreshed from the database every half second."""

import asyncio
import logging
from datetime import datetime
from hmac import compare_digest
from typing import Final

from app.auth import keys as api_keys
from app.auth.keys import KeyStore, Scope
from app.database.tables import Key, now

POLL_INTERVAL: Final = 0.5
MAX_KEY_BYTES: Final = 512
ADMIN_ID: Final = "admin"
ADMIN_NAME: Final = "MYNET_ADMIN_KEY"
log = logging.getLogger(__name__)


class KeyCache:
    """The keys of the database, up to half a second old, and the key of MYNET_ADMIN_KEY."""

    def __init__(self, keys: KeyStore, admin: str | None) -> None:
        self.keys = keys
        self._admin = _admin_key(admin) if admin else None
        self._keys_by_id: dict[str, Key] = {}

    def find(self, raw_key: bytes) -> Key | None:
        """Return the key with this secret, or None if no valid key has it."""
        if not 0 < len(raw_key) <= MAX_KEY_BYTES:
            return None
        digest = api_keys.digest(raw_key)
        for key in (self._admin, self._keys_by_id.get(api_keys.key_id_from(raw_key))):
            if key and compare_digest(digest, key.digest) and api_keys.is_valid(key):
                return key
        return None

    def last_used(self, key_id: str) -> datetime | None:
        """Return when a key was last used, as of the last refresh; None if the cache lacks it."""
        key = self._keys_by_id.get(key_id)
        return key.last_used if key else None

    def refresh(self) -> None:
        """Read all valid keys from the database. Raises NotReady."""
        previous, current = self._keys_by_id, {key.id: key for key in self.keys.valid()}
        self._keys_by_id = current
        for key in _missing(current, previous):
            log.info("key added: id=%s name=%s scopes=%s", key.id, key.name, ", ".join(key.scopes))
        for key in _missing(previous, current):
            log.info("key removed: id=%s name=%s", key.id, key.name)

    async def watch(self) -> None:
        """Refresh until cancelled. If the database is unavailable, the cached keys stay valid."""
        is_failing = False
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                await asyncio.to_thread(self.refresh)
                is_failing = False
            except Exception as error:  # any: without this task, no key would ever be revoked
                if not is_failing:
                    log.error("keys could not be refreshed, cached keys stay valid: %s", error)
                is_failing = True


def _admin_key(admin: str) -> Key:
    return Key(
        id=ADMIN_ID,
        name=ADMIN_NAME,
        digest=api_keys.digest(admin.encode()),
        scopes=[Scope.ADMIN],
        created_at=now(),
        expires_at=None,
        revoked_at=None,
    )


def _missing(left: dict[str, Key], right: dict[str, Key]) -> list[Key]:
    return [left[key_id] for key_id in left.keys() - right.keys()]
