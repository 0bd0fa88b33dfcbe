// What enters: the corrections that the service stores. What leaves: a grid of their images, with the wish to change, remove
// or learn from them. This module does not know which prediction was wrong.
import { button, byId, element, fill, unlessBusy } from "../elements/dom.js";
import { problemNodes } from "../elements/problem.js";
import { inWords, number, t } from "../language/words.js";
import { ask, askJson } from "../service/api.js";
import { brief, formOf, LABELS, phrase } from "./label.js";

const PAGE = 100;
const ALL = "all";

export class Corrections {
  /** `learn()` when a training with them is wanted. */
  constructor(learn) {
    Object.assign(this, { images: [], counts: [], total: 0, label: ALL, hasMore: false });
    Object.assign(this, { said: null, refusal: null, looks: 0 });
    byId("train-with-corrections").addEventListener("click", learn);
    byId("more-corrections").addEventListener("click", () => this.#try(() => this.#more()));
    inWords(() => {
      this.#show();
      this.#say();
    });
  }

  async refresh() {
    const look = ++this.looks;
    const { labels, images, non_digits } = await askJson("datasets/corrections", { quiet: true });
    const { data, has_more } = await askJson(this.#path(), { quiet: true });
    if (look !== this.looks) return; // another filter has been chosen, or something has changed
    const counts = LABELS.map((label) => (label === null ? non_digits : labels[label]));
    Object.assign(this, { counts, total: images, images: data, hasMore: has_more });
    this.#show();
  }

  async #more() {
    const { images } = this;
    const { data, has_more } = await askJson(`${this.#path()}&after=${images.at(-1).id}`);
    if (this.images === images) Object.assign(this, { images: [...images, ...data], hasMore: has_more });
  }

  #path() {
    const { label } = this;
    const selection = label === null ? "&is_digit=false" : label === ALL ? "" : `&label=${label}`;
    return `datasets/corrections/images?limit=${PAGE}${selection}`;
  }

  /** Store an image with a label; the service knows it by its pixels. */
  async #store({ image }, label) {
    await ask("feedback?replace=true", { method: "POST", body: formOf(blobOf(image), label) });
  }

  async #relabel(correction, label) {
    const before = correction.label;
    await this.#store(correction, label);
    this.#saidWithUndo("correction_changed", { label, before }, () => this.#store(correction, before));
    await this.refresh();
  }

  async #remove(correction) {
    await ask(`feedback/${correction.id}`, { method: "DELETE" });
    this.#saidWithUndo("correction_removed", correction, () => this.#store(correction, correction.label));
    await this.refresh();
  }

  #saidWithUndo(word, { label, before }, undo) {
    const act = () =>
      this.#try(async () => {
        await undo();
        this.said = null;
        await this.refresh();
      });
    const values = () => ({ label: phrase(label), before: before === undefined ? "" : phrase(before) });
    this.said = () => [t(word, values()), " ", button(t("undo"), act)];
  }

  async #try(act) {
    this.refusal = null;
    try {
      await act();
    } catch (problem) {
      this.refusal = problem;
    }
    this.#show();
    this.#say();
  }

  #say() {
    const { refusal, said } = this;
    byId("corrections-said").replaceChildren(...(refusal ? problemNodes(refusal) : (said?.() ?? [])));
  }

  #filter(label) {
    this.label = label;
    return this.#try(() => this.refresh());
  }

  #show() {
    const { counts, hasMore, images, total } = this;
    byId("no-corrections").hidden = total > 0;
    byId("train-with-corrections").hidden = total === 0;
    byId("train-with-corrections").textContent = t("train_with_n", { n: number(total) });
    byId("more-corrections").hidden = !hasMore;
    byId("robust-learns-them").hidden = !counts[LABELS.indexOf(null)];
    const choice = (label, text) => button(text, () => this.#filter(label));
    const present = LABELS.map((label, i) => [label, counts[i]]).filter(([, count]) => count);
    const filters = present.map(([label, count]) => choice(label, `${brief(label)} · ${number(count)}`));
    const all = choice(ALL, t("all_digits", { n: number(total) }));
    const isUseful = present.length > 1 || this.label !== ALL;
    fill(byId("corrections-filter"), [counts, total, isUseful], () => (isUseful ? [all, ...filters] : []));
    const labels = [ALL, ...present.map(([label]) => label)];
    byId("corrections-filter").querySelectorAll("button").forEach((each, i) => {
      each.ariaPressed = String(labels[i] === this.label);
    });
    fill(byId("corrections-grid"), images, () => images.map((each) => this.#tile(each)));
  }

  #tile(correction) {
    const { image, label } = correction;
    const picture = element("img", { src: image, alt: phrase(label), width: 112, height: 112 });
    const options = LABELS.map((each) => element("option", { selected: each === label }, brief(each)));
    const change = async ({ target }) => {
      await this.#try(() => this.#relabel(correction, LABELS[target.selectedIndex]));
      target.selectedIndex = LABELS.indexOf(label); // if it was refused, the tile is still there
    };
    const name = { "aria-label": t("change_label", { label: brief(label) }), onchange: change };
    const select = element("select", name, ...options);
    const remove = unlessBusy(() => this.#try(() => this.#remove(correction)));
    const sign = { className: "sign", title: t("remove"), "aria-label": t("remove_of", { label: brief(label) }) };
    return element("li", {}, picture, element("div", { className: "row" }, select, button("✕", remove, sign)));
  }
}

function blobOf(url) {
  const bytes = Uint8Array.from(atob(url.split(",")[1]), (each) => each.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}
