// What enters: the corrections that the service stores. What leaves: a grid of their images, with the wish to change, remove
// or learn from them. This module does not know which prediction was wrong.
import { button, byId, element } from "../elements/dom.js";
import { problemNodes } from "../elements/problem.js";
import { inWords, number, t } from "../language/words.js";
import { ask, askJson } from "../service/api.js";

const PAGE = 100;
const DIGITS = [...Array(10).keys()];

export class Corrections {
  /** `learn()` when a training with them is wanted. */
  constructor(learn) {
    Object.assign(this, { images: [], labels: {}, total: 0, digit: null, hasMore: false, said: null });
    byId("train-with-corrections").addEventListener("click", learn);
    byId("more-corrections").addEventListener("click", () => this.#try(() => this.#more()));
    inWords(() => this.#show());
  }

  async refresh() {
    const { labels, images } = await askJson("datasets/corrections", { quiet: true });
    const { data, has_more } = await askJson(this.#path(), { quiet: true });
    Object.assign(this, { labels, total: images ?? 0, images: data, hasMore: has_more });
    this.#show();
  }

  async #more() {
    const { data, has_more } = await askJson(`${this.#path()}&after=${this.images.at(-1).id}`);
    Object.assign(this, { images: [...this.images, ...data], hasMore: has_more });
  }

  #path() {
    const label = this.digit === null ? "" : `&label=${this.digit}`;
    return `datasets/corrections/images?limit=${PAGE}${label}`;
  }

  /** Store an image with a label; the service knows it by its pixels. */
  async #store({ image }, label) {
    const form = new FormData();
    form.append("file", blobOf(image), "digit.png");
    form.append("label", label);
    await ask("feedback?replace=true", { method: "POST", body: form });
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
    this.said = () => [t(word, { label, before }), " ", button(t("undo"), act)];
  }

  async #try(act) {
    try {
      await act();
    } catch (problem) {
      this.said = () => problemNodes(problem);
    }
    this.#show();
  }

  #filter(digit) {
    this.digit = digit;
    return this.#try(() => this.refresh());
  }

  #show() {
    const { digit, hasMore, images, labels, total } = this;
    byId("corrections-said").replaceChildren(...(this.said?.() ?? []));
    byId("no-corrections").hidden = total > 0;
    byId("train-with-corrections").hidden = total === 0;
    byId("train-with-corrections").textContent = t("train_with_n", { n: number(total) });
    byId("more-corrections").hidden = !hasMore;
    const present = DIGITS.filter((each) => labels?.[each]);
    const choice = (value, text) => button(text, () => this.#filter(value), { "aria-pressed": String(value === digit) });
    const filters = present.map((each) => choice(each, `${each} · ${number(labels[each])}`));
    const all = choice(null, t("all_digits", { n: number(total) }));
    const isUseful = present.length > 1 || digit !== null;
    byId("corrections-filter").replaceChildren(...(isUseful ? [all, ...filters] : []));
    byId("corrections-grid").replaceChildren(...images.map((each) => this.#tile(each)));
  }

  #tile(correction) {
    const { image, label } = correction;
    const picture = element("img", { src: image, alt: t("correction_of", { label }), width: 112, height: 112 });
    const options = DIGITS.map((digit) => element("option", { value: digit, selected: digit === label }, digit));
    const change = (event) => this.#try(() => this.#relabel(correction, Number(event.target.value)));
    const name = { "aria-label": t("change_label", { label }), onchange: change };
    const select = element("select", name, ...options);
    const remove = () => this.#try(() => this.#remove(correction));
    const sign = { className: "sign", title: t("remove"), "aria-label": t("remove_of", { label }) };
    return element("li", {}, picture, element("div", { className: "row" }, select, button("✕", remove, sign)));
  }
}

function blobOf(url) {
  const bytes = Uint8Array.from(atob(url.split(",")[1]), (each) => each.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}
