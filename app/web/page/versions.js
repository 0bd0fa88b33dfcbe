// What enters: cards of versions. What leaves: a table of them, and the wish to make one live. This module
// does not know what else is shown of a version.
import { ask, askJson, post } from "./api.js";
import { button, byId, element } from "./dom.js";
import { inWords, percent, setWord, t, when } from "./words.js";

const FORMS = ["safetensors", "pt", "onnx"];

export class Versions {
  /** `chosen(card)` when a version is looked at; `listed(cards, current)` when the list is new. */
  constructor({ chosen, listed }) {
    Object.assign(this, { chosen, listed, cards: [], current: null, version: null });
    byId("rollback").addEventListener("click", () => this.#change(() => post("/models/rollback")));
    inWords(() => this.#show());
  }

  async refresh() {
    const { data, current } = await askJson("/models", { quiet: true });
    const isFollowing = this.version === null || this.version === this.current;
    const stays = data.some(({ version }) => version === this.version);
    Object.assign(this, { cards: data.toReversed(), current });
    if (isFollowing || !stays) this.version = current;
    this.#show();
    this.listed(this.cards, current);
    this.#choose(this.version);
  }

  #show() {
    byId("rows").replaceChildren(...this.cards.map((card) => this.#row(card)));
    this.#showDownloads();
  }

  #row(card) {
    const { version } = card;
    const isLive = version === this.current;
    const shown = button(version, () => this.#choose(version), {
      "aria-pressed": version === this.version,
      "aria-label": t("show", { version }),
      className: "pick",
    });
    const [low, high] = card.test_accuracy_interval;
    const interval = element("small", {}, `${percent(low, 2)} – ${percent(high, 2)}`);
    const activate = () => this.#change(() => this.#activate(version));
    const act = isLive
      ? element("span", { className: "badge" }, t("live"))
      : button(t("activate"), activate, { "aria-label": `${t("activate")} ${version}` });
    const cells = [
      [percent(card.test_accuracy, 2), " ", interval],
      [card.recipe ? t(card.recipe) : "–"],
      [when(card.created_at)],
      [lineage(card)],
      [act],
    ];
    const head = element("th", { scope: "row" }, shown);
    return element("tr", {}, head, ...cells.map((each) => element("td", {}, ...each)));
  }

  #activate(version) {
    return post("/models/current", { version }, { method: "PUT" });
  }

  async #change(change) {
    const said = byId("versions-said");
    try {
      const { version } = await change();
      setWord(said, "is_live", { version });
      await this.refresh();
    } catch (problem) {
      said.textContent = problem.words;
    }
  }

  #choose(version) {
    this.version = version;
    for (const each of byId("rows").querySelectorAll(".pick")) {
      each.setAttribute("aria-pressed", each.textContent === String(version));
    }
    this.#showDownloads();
    const card = this.cards.find((each) => each.version === version);
    if (card) this.chosen(card);
  }

  #showDownloads() {
    const { version } = this;
    if (version === null) return;
    const forms = FORMS.map((form) => button(form, () => download(version, form)));
    const label = element("span", { className: "small" }, t("download", { version }));
    byId("downloads").replaceChildren(label, ...forms);
  }
}

function lineage({ parent, origin, job, note }) {
  const words = [t(origin)];
  if (parent !== null) words.push(t("from", { parent }));
  return element("span", { title: [job, note].filter(Boolean).join(" · ") }, words.join(", "));
}

/** Not a plain link, which could not send a key. */
async function download(version, form) {
  const said = byId("versions-said");
  try {
    const response = await ask(`/models/${version}/weights?format=${form}`);
    const href = URL.createObjectURL(await response.blob());
    element("a", { href, download: `mynet-${version}.${form}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  } catch (problem) {
    said.textContent = problem.words;
  }
}
