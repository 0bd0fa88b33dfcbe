// What enters: a card. What leaves: its confusion matrix as a heat map, and the test images behind a cell.
// This module does not know which version is live.
import { askJson } from "./api.js";
import { button, byId, element } from "./dom.js";
import { inWords, number, percent, t } from "./words.js";

const MOST = 40;
const DIGITS = [...Array(10).keys()];
const MOVES = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10 };

export class Confusion {
  constructor() {
    this.card = this.found = null;
    this.at = 0;
    byId("confusion").addEventListener("keydown", (event) => this.#move(event));
    inWords(() => this.#show());
  }

  show(card) {
    if (card.version !== this.card?.version) this.found = null;
    this.card = card;
    this.#show();
  }

  #show() {
    if (!this.card) return;
    const { version, confusion } = this.card;
    byId("confusion-title").textContent = t("confusion_of", { version });
    const heads = DIGITS.map((digit) => element("th", { scope: "col" }, digit));
    const rows = DIGITS.map((digit) => this.#row(digit, confusion[digit]));
    const corner = element("td");
    byId("confusion").replaceChildren(element("table", {}, element("tr", {}, corner, ...heads), ...rows));
    this.#showFound();
  }

  #row(digit, counts) {
    const cells = counts.map((count, answer) => element("td", {}, this.#cell(digit, answer, count)));
    return element("tr", {}, element("th", { scope: "row" }, digit), ...cells);
  }

  #cell(digit, answer, count) {
    const place = 10 * digit + answer;
    const cell = button(count || "", () => this.#look(digit, answer, count), {
      "aria-label": t("cell", { digit, answer, count }),
      tabIndex: place === this.at ? 0 : -1,
      className: digit === answer ? "right" : "mistaken",
    });
    // By logarithm: one confusion is to be seen beside a thousand right answers.
    const heat = count ? 0.12 + 0.88 * (Math.log1p(count) / Math.log1p(digit === answer ? 1200 : 60)) : 0;
    cell.style.setProperty("--heat", `${Math.round(100 * Math.min(1, heat))}%`);
    return cell;
  }

  #move(event) {
    if (!(event.key in MOVES)) return;
    event.preventDefault();
    const to = this.at + MOVES[event.key];
    if (to >= 0 && to < 100) this.#cells()[to].focus();
    this.#reach(Math.min(99, Math.max(0, to)));
  }

  #reach(place) {
    const cells = this.#cells();
    cells[this.at].tabIndex = -1;
    cells[place].tabIndex = 0;
    this.at = place;
  }

  #cells() {
    return byId("confusion").querySelectorAll("button");
  }

  async #look(digit, answer, count) {
    this.#reach(10 * digit + answer);
    const { version } = this.card;
    const query = new URLSearchParams({ digit, answer, limit: MOST });
    try {
      const { data } = await askJson(`/models/${version}/errors?${query}`);
      this.found = { digit, answer, count, data };
    } catch (problem) {
      this.found = { digit, answer, problem };
    }
    this.#showFound();
  }

  #showFound() {
    const { found } = this;
    if (!found) return byId("behind").replaceChildren();
    const { digit, answer, count, data = [], problem } = found;
    const shown = t("behind_count", { shown: data.length, count: number(count ?? 0) });
    const words = problem?.words ?? (data.length ? shown : t("none_behind"));
    const title = element("h3", {}, t("behind", { digit, answer }));
    const line = element("p", { className: "small" }, words);
    byId("behind").replaceChildren(title, line, element("div", { className: "wall" }, ...data.map(tile)));
  }
}

function tile({ index, digit, answer, confidence, image }) {
  const alt = t("image_alt", { index, digit, answer, sure: percent(confidence) });
  return element("img", { src: image, alt, title: alt, width: 28, height: 28 });
}
