"""Which events of a job are sent where: by the request for it, and by `MYNET_WEBHOOK_URL`."""

from typing import NamedTuple

from pydantic import HttpUrl

from app.config.settings import Settings
from app.database.tables import Webhook
from app.errors import FieldError, InvalidField
from app.webhooks.addresses import AllowedAddresses
from app.webhooks.request import EVENTS, WebhookRequest


class Subscription(NamedTuple):
    """Events of a job that are sent to a URL; `from_settings` means `MYNET_WEBHOOK_URL`."""

    url: str
    events: tuple[str, ...]
    from_settings: bool = False

    def row(self, job_id: str) -> Webhook:
        return Webhook(
            job_id=job_id,
            url=self.url,
            events=[*self.events],
            from_settings=self.from_settings,
        )


def subscriptions(settings: Settings, webhook: WebhookRequest | None = None) -> list[Subscription]:
    """Return the subscriptions of a new job. Raises InvalidField if `webhook` cannot be sent."""
    found: list[Subscription] = []
    if webhook is not None:
        _check(settings, webhook)
        found.append(Subscription(webhook.url, tuple(webhook.events)))
    if settings.webhook_url:
        found.append(
            Subscription(settings.webhook_url.get_secret_value(), EVENTS, from_settings=True)
        )
    return found


def _check(settings: Settings, webhook: WebhookRequest) -> None:
    if settings.webhook_secret is None:
        raise _refusal(
            "webhook",
            "this service cannot sign webhooks: its operator must set MYNET_WEBHOOK_SECRET",
        )
    host = HttpUrl(webhook.url).host or ""
    if not AllowedAddresses(settings.webhook_allow).may_permit(host):
        raise _refusal(
            "webhook.url",
            f"{host} is not a public address, and MYNET_WEBHOOK_ALLOW does not name it",
        )


def _refusal(field: str, message: str) -> InvalidField:
    return InvalidField(f"{field}: {message}.", errors=[FieldError(field, message)])
