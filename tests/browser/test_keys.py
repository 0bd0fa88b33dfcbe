"""The dialog of API keys, which an admin gets: list, create, copy, rotate, revoke."""

import httpx2
import pytest

from tests.browser.conftest import LOOKS, TIMEOUT, run_service, serious_of, shows, visit
from tests.service.running import wait_until

ADMIN_KEY = "open-sesame-open-sesame"
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}
REFUSED = ["401", "403", "409"]  # Chromium reports each, also where the page handles it


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A service that needs keys."""
    settings = {"auth": "keys", "admin_key": ADMIN_KEY}
    with run_service(tmp_path_factory.mktemp("keys") / "var", **settings) as service:
        yield service


@pytest.fixture
def admin(locked):
    """A client of that service with the key of an admin."""
    url, headers = f"http://127.0.0.1:{locked.port}", {"X-API-Key": ADMIN_KEY}
    with httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT) as client:
        yield client


@pytest.fixture
def create(admin):
    """Create a key that the service accepts, and return its secret."""

    def create(name, *scopes):
        key = admin.post("/keys", json={"name": name, "scopes": scopes}).json()["key"]
        assert wait_until(lambda: is_valid(admin, key))
        return key

    return create


def is_valid(client, key):
    return client.get("/metrics", headers={"X-API-Key": key}).status_code == 200


def give_key(page, key):
    page.click("#give-key")
    page.fill("#key", key)
    page.keyboard.press("Enter")


@pytest.fixture
def open_keys(open_page, locked):
    """Open the page with a key, and then its dialog of keys."""

    def open_keys(key=ADMIN_KEY, **options):
        page = open_page(locked, expected=REFUSED, **options)
        give_key(page, key)
        page.click("#manage-keys")
        page.wait_for_selector("#keys-dialog[open]")
        return page

    return open_keys


def row(name):
    return f"#key-rows tr:has(th:has-text('{name}'))"


def test_admin_lists_keys_with_their_times(open_keys, create, admin):
    own = create("me", "admin")
    body = {"name": "visitor", "scopes": ["predict", "train"], "days": 30}
    admin.post("/keys", json=body)
    assert wait_until(lambda: last_used(admin, own))
    page = open_keys(own)
    shows(page, row("visitor"), "predict, train")
    scopes, created, expires, used, _ = cells(page, "visitor")
    assert (scopes, used) == ("predict, train", "never")
    assert {created, expires}.isdisjoint({used, ""})
    assert created != expires
    scopes, _, expires, used, _ = cells(page, "me")
    assert (scopes, expires) == ("admin", "never")
    assert used != "never"
    shows(page, row("me"), "this page")
    shows(page, row("me"), own.split("_")[1])


def last_used(admin, secret):
    keys = admin.get("/keys").json()["data"]
    return next(key["last_used"] for key in keys if key["id"] == secret.split("_")[1])


def cells(page, name):
    return page.locator(f"{row(name)} td").all_text_contents()


def test_admin_creates_a_key_copies_it_and_sees_it_once(open_keys, admin):
    page = open_keys(**CLIPBOARD)
    page.uncheck("#new-key input[value=predict]")
    page.fill("#new-key input[name=name]", "copied")
    page.click("#new-key button[type=submit]")
    assert page.locator("#new-key input:invalid").count() == 1, "a key has at least one scope"
    page.check("#new-key input[value=train]")
    page.fill("#new-key input[name=days]", "30")
    page.click("#new-key button[type=submit]")
    shows(page, row("copied"), "train")
    page.click("#copy")
    shows(page, "#keys-said", "Copied.")
    key = page.evaluate("() => navigator.clipboard.readText()")
    assert page.input_value("#secret") == key
    assert wait_until(lambda: is_valid(admin, key))
    page.click("#keys-close")
    page.click("#manage-keys")
    shows(page, row("copied"), "train")
    assert page.input_value("#secret") == ""
    assert not page.is_visible("#secret")


def test_admin_rotates_and_revokes_after_a_question(open_keys, create, admin):
    old = create("turned", "predict")
    page = open_keys()
    page.click(f"{row('turned')} button:has-text('Rotate')")
    shows(page, "#confirm-title", "Rotate the key turned?")
    page.select_option("#confirm select", label="7 days")
    page.click("#confirm-yes")
    page.wait_for_selector("#secret:visible")
    new = page.input_value("#secret")
    assert wait_until(lambda: is_valid(admin, new))
    assert is_valid(admin, old)
    assert wait_until(lambda: page.locator(row("turned")).count() == 2)
    newer = row(new.split("_")[1])
    for answer in ("#confirm button[value=no]", "Escape"):
        page.click(f"{newer} button:has-text('Revoke')")
        shows(page, "#confirm-title", "Revoke the key turned?")
        page.click(answer) if answer.startswith("#") else page.keyboard.press(answer)
        page.wait_for_selector("#confirm", state="hidden")
        assert page.is_visible("#keys-dialog")
    assert is_valid(admin, new), "revoked before the confirmation"
    page.click(f"{newer} button:has-text('Revoke')")
    page.click("#confirm-yes")
    shows(page, "#keys-said", "The key turned is revoked.")
    assert wait_until(lambda: not is_valid(admin, new))
    assert wait_until(lambda: page.locator(newer).count() == 0)
    page.check("#ended-keys")
    shows(page, newer, "revoked")
    assert page.locator(f"{newer} button").count() == 0


def test_refusal_is_shown_in_the_dialog(open_keys, create, admin):
    gone = create("gone", "predict").split("_")[1]
    page = open_keys()
    page.wait_for_selector(row("gone"))
    admin.delete(f"/keys/{gone}")
    page.click(f"{row('gone')} button:has-text('Rotate')")
    page.click("#confirm-yes")
    shows(page, "#keys-said", "That is not possible right now.")
    shows(page, "#keys-said .detail", "The key")


def test_keyboard_alone_creates_and_revokes(open_keys):
    page = open_keys()
    reached = []
    while "name" not in reached:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.name"))
        assert len(reached) < 60
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    page.wait_for_selector(row("typed"))
    assert page.evaluate("() => document.activeElement.id") == "copy"
    page.focus(f"{row('typed')} button:has-text('Revoke')")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.value") == "no", "the safe answer is first"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    shows(page, "#keys-said", "The key typed is revoked.")
    page.keyboard.press("Escape")
    page.wait_for_selector("#keys-dialog", state="hidden")


def test_other_keys_get_no_dialog(open_page, locked, create):
    page = open_page(locked, expected=REFUSED)
    give_key(page, create("guest", "train"))
    page.wait_for_selector("#rows .pick", state="attached")
    assert not page.is_visible("#manage-keys")


def test_a_narrow_key_is_told_which_part_it_does_not_open(open_page, locked, create):
    page = open_page(locked, expected=REFUSED)
    give_key(page, create("narrow", "predict"))
    visit(page, "corrections")
    shows(page, "#corrections .locked", "Your key does not open this part.")
    assert page.is_visible("#corrections .locked button")
    assert page.is_hidden("#no-corrections")


@pytest.mark.parametrize("options", LOOKS)
def test_axe_finds_nothing_serious_in_the_dialog(open_keys, create, axe, options):
    create("axe", "predict")
    page = open_keys(**options)
    page.fill("#new-key input[name=name]", "shown")
    page.click("#new-key button[type=submit]")
    page.wait_for_selector("#secret:visible")
    assert serious_of(page, axe) == {}
    page.locator(f"{row('axe')} button").last.click()
    page.wait_for_selector("#confirm[open]")
    assert serious_of(page, axe) == {}
