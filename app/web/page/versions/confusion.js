// What enters: a card, and perhaps another one. What leaves: its confusion matrix as a heat map, or the difference to the
// other's, and the test images behind a cell. This module does not know which version is live.
import { askJson } from "../service/api.js";
import { button, byId, element, fill } from "../elements/dom.js";
import { problemNodes } from "../elements/problem.js";
import { inWords, number, percent, t } from "../language/words.js";

const MOST = 40;
const DIGITS = [...Array(10).keys()];
const MOVES = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10 };

export class Confusion {
  constructor() {
    this.card = this.other = this.found = null;
    this.at = this.looks = 0;
    this.isEnlarged = false;
    byId("confusion").addEventListener("keydown", (event) => this.#move(event));
    inWords(() => this.#show());
  }

  /** Show a card, or how it differs from another. */
  show(card, other = null) {
    if (card.version !== this.card?.version) {
      this.found = null;
      this.looks++; // the answer to an older one is about another version
    }
    Object.assign(this, { card, other });
    this.#show();
  }

  #show() {
    if (!this.card) return;
    const { version, confusion } = this.card;
    const { other } = this;
    const title = other ? t("confusion_beside", { version, other: other.version }) : t("confusion_of", { version });
    byId("confusion-title").textContent = title;
    byId("confusion-is").textContent = t(other ? "difference_is" : "confusion_is");
    fill(byId("confusion"), [this.card, other], () => [this.#table(confusion)]);
    this.#showFound();
  }

  #table(confusion) {
    const heads = DIGITS.map((digit) => element("th", { scope: "col" }, digit));
    const rows = DIGITS.map((digit) => this.#row(digit, confusion[digit]));
    return element("table", {}, element("tr", {}, element("td"), ...heads), ...rows);
  }

  #row(digit, counts) {
    const cells = counts.map((count, answer) => element("td", {}, this.#cell(digit, answer, count)));
    return element("tr", {}, element("th", { scope: "row" }, digit), ...cells);
  }

  #cell(digit, answer, count) {
    const place = 10 * digit + answer;
    const more = this.other ? count - this.other.confusion[digit][answer] : null;
    const shown = more === null ? count || "" : signed(more);
    const label = { digit, answer, count, more: signed(more ?? 0) || 0 };
    const isGood = more === null ? digit === answer : more > 0 === (digit === answer);
    const cell = button(shown, () => this.#look(digit, answer, count), {
      "aria-label": t(more === null ? "cell" : "cell_difference", label),
      tabIndex: place === this.at ? 0 : -1,
      className: isGood ? "right" : "mistaken",
    });
    // By logarithm: one confusion is to be seen beside a thousand right answers.
    const [size, most] = more === null ? [count, digit === answer ? 1200 : 60] : [Math.abs(more), 40];
    const heat = size ? 0.12 + 0.88 * (Math.log1p(size) / Math.log1p(most)) : 0;
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
    const look = ++this.looks;
    const query = new URLSearchParams({ digit, answer, limit: MOST });
    const path = `models/${version}/errors?${query}`;
    const behind = await askJson(path).catch((problem) => ({ problem }));
    if (look !== this.looks) return; // another cell or version has been chosen
    this.found = { digit, answer, count, ...behind };
    this.#showFound();
  }

  #showFound() {
    const { found } = this;
    fill(byId("behind"), [found, found?.problem?.words], () => (found ? this.#behind(found) : []));
  }

  #behind({ digit, answer, count, data = [], problem }) {
    const shown = t("behind_count", { shown: data.length, count: number(count) });
    const words = problem ? problemNodes(problem) : [data.length ? shown : t("none_behind")];
    const title = element("h3", {}, t("behind", { digit, answer }));
    const line = element("p", { className: "small" }, ...words);
    const wall = element("div", { className: "wall" }, ...data.map(tile));
    const row = element("div", { className: "row filter" }, line, ...(data.length ? [this.#enlarge(wall)] : []));
    return [title, row, wall];
  }

  /** Make a button that enlarges the images of a wall, which are 28 pixels wide, or reduces them. */
  #enlarge(wall) {
    const enlarge = button(t("enlarge"), () => {
      this.isEnlarged = !this.isEnlarged;
      show();
    });
    const show = () => {
      wall.classList.toggle("enlarged", this.isEnlarged);
      enlarge.setAttribute("aria-pressed", this.isEnlarged);
    };
    show();
    return enlarge;
  }
}

const signed = (count) => (count > 0 ? `+${count}` : count < 0 ? `−${-count}` : "");

function tile({ index, digit, answer, confidence, image }) {
  const alt = t("image_alt", { index, digit, answer, sure: percent(confidence) });
  const picture = element("img", { src: image, alt, title: alt, width: 64, height: 64 });
  const caption = [`#${index}`, element("br"), percent(confidence, 0)];
  return element("figure", {}, picture, element("figcaption", { "aria-hidden": "true" }, ...caption));
}
