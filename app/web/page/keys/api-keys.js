// What enters: the API keys of the service. What leaves: a dialog that lists them, and makes, rotates and
// revokes them. This module does not know the key that the page sends.
import { ask, askJson, post, usesKey } from "../service/api.js";
import { isConfirmed } from "../elements/confirm.js";
import { button, byId, element, fill, unlessBusy } from "../elements/dom.js";
import { showProblem } from "../elements/problem.js";
import { clock, day, inWords, setWord, t } from "../language/words.js";

const DAY = 86_400; // seconds
const GRACE_DAYS = [0, 1, 7, 30];

export class ApiKeys {
  constructor() {
    this.keys = [];
    this.looks = 0;
    this.dialog = byId("keys-dialog");
    this.form = byId("new-key");
    this.said = byId("keys-said");
    byId("manage-keys").addEventListener("click", () => this.#open());
    byId("keys-close").addEventListener("click", () => this.dialog.close());
    byId("ended-keys").addEventListener("change", () => this.#show());
    byId("copy").addEventListener("click", () => this.#copy());
    this.dialog.addEventListener("close", () => this.#showSecret(null));
    this.form.addEventListener("change", () => this.#checkScopes());
    const create = unlessBusy(() => this.#change(() => this.#create()));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      create();
    });
    inWords(() => this.#show());
  }

  /** Show the button that opens the dialog if the key of the page may see all keys. */
  async offer() {
    byId("manage-keys").hidden = true;
    await this.#list({ quiet: true });
    byId("manage-keys").hidden = false;
  }

  async #open() {
    this.said.textContent = "";
    this.#checkScopes();
    this.dialog.showModal();
    await this.#change(() => this.#list());
  }

  async #list(options) {
    const look = ++this.looks;
    const { data } = await askJson("keys", options);
    if (look !== this.looks) return; // a newer list has other keys, perhaps
    this.keys = data.toReversed();
    this.#show();
  }

  async #create() {
    const data = new FormData(this.form);
    const days = data.get("days");
    const request = { name: data.get("name"), scopes: data.getAll("scopes") };
    this.#showSecret(await post("keys", days ? { ...request, days: Number(days) } : request));
    this.form.reset();
    await this.#list();
  }

  async #rotate({ id, name }) {
    const grace = graceField();
    const question = { title: t("rotate_title", { name }), text: t("rotate_is"), yes: t("rotate") };
    if (!(await isConfirmed({ ...question, field: grace }))) return;
    const seconds = Number(grace.querySelector("select").value);
    this.#showSecret(await post(`keys/${id}/rotate`, { grace_seconds: seconds }));
    await this.#list();
  }

  async #revoke({ id, name }) {
    const text = [t("revoke_is"), usesKey(id) ? t("revoke_own") : ""].join(" ");
    const question = { title: t("revoke_title", { name }), text, yes: t("revoke") };
    if (!(await isConfirmed(question))) return;
    await ask(`keys/${id}`, { method: "DELETE" });
    setWord(this.said, "revoked", { name });
    byId("keys").focus(); // the button is gone
    await this.#list();
  }

  async #change(change) {
    this.said.textContent = "";
    try {
      await change();
    } catch (problem) {
      showProblem(this.said, problem);
    }
  }

  #checkScopes() {
    const { scopes } = this.form.elements;
    const isChosen = [...scopes].some(({ checked }) => checked);
    scopes[0].setCustomValidity(isChosen ? "" : t("must_scope"));
  }

  /** Show a new key, which the service does not show again, or nothing. */
  #showSecret(key) {
    byId("secret-part").hidden = key === null;
    byId("secret").value = key?.key ?? "";
    if (key === null) return;
    setWord(byId("secret-is"), "secret_is", key);
    byId("copy").focus();
  }

  async #copy() {
    byId("secret").select();
    try {
      await navigator.clipboard.writeText(byId("secret").value);
      setWord(this.said, "copied");
    } catch {
      setWord(this.said, "copy_yourself"); // browsers copy nothing over plain HTTP
    }
  }

  #show() {
    const isAll = byId("ended-keys").checked;
    const shown = this.keys.filter((key) => isAll || !hasEnded(key));
    const none = () => element("tr", {}, element("td", { colSpan: 6, className: "small" }, t("no_keys")));
    const states = shown.map((key) => [key, usesKey(key.id), hasEnded(key)]);
    fill(byId("key-rows"), states, () => (shown.length ? shown.map((key) => this.#row(key)) : [none()]));
  }

  #row(key) {
    const { id, name, scopes, created_at, last_used } = key;
    const own = usesKey(id) ? [" ", element("span", { className: "badge" }, t("in_use"))] : [];
    const act = (word, change) =>
      button(t(word), () => this.#change(() => change(key)), { "aria-label": `${t(word)} ${name} ${id}` });
    const acts = hasEnded(key)
      ? []
      : [act("rotate", () => this.#rotate(key)), " ", act("revoke", () => this.#revoke(key))];
    const head = element("th", { scope: "row" }, name, " ", element("small", {}, id, ...own));
    const cells = {
      scopes: [scopes.join(", ")],
      made: timeOrNever(created_at),
      expires: end(key),
      last_used: timeOrNever(last_used),
      actions: acts,
    };
    const cell = ([word, content]) => element("td", { "data-label": t(word) }, ...content);
    const className = hasEnded(key) ? "ended" : "";
    return element("tr", { className }, head, ...Object.entries(cells).map(cell));
  }
}

const small = (text) => element("small", {}, text);
const timeOrNever = (time) => (time ? [day(time), " ", small(clock(time))] : [t("never")]);
const hasEnded = ({ revoked_at, expires_at }) =>
  revoked_at !== null || (expires_at !== null && new Date(expires_at) <= new Date());

function end(key) {
  if (key.revoked_at) return [t("is_revoked"), " ", small(day(key.revoked_at))];
  if (hasEnded(key)) return [t("is_expired"), " ", small(day(key.expires_at))];
  return timeOrNever(key.expires_at);
}

function graceField() {
  const options = GRACE_DAYS.map((days) => element("option", { value: days * DAY }, t(`grace_${days}`)));
  const select = element("select", {}, ...options);
  select.value = String(DAY);
  return element("label", { className: "field" }, element("span", {}, t("grace")), select);
}
