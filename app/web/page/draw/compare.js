// Two versions on the same drawing, side by side.
import { button, byId, element } from "../elements/dom.js";
import { problemNodes } from "../elements/problem.js";
import { read } from "./reader.js";
import { inWords, percent, t } from "../language/words.js";
import { askForKey, onKey } from "../service/api.js";

const LEAST = 0.0005; // a second digit that would read as 0.0 % is none

export class Compare {
  constructor() {
    Object.assign(this, { image: null, answers: null, asked: 0, cards: [], current: null });
    this.sides = [byId("left"), byId("right")];
    this.sides.forEach((side) => side.addEventListener("change", () => this.#ask()));
    onKey(() => this.#show());
    inWords(() => {
      this.#name();
      this.#show();
    });
  }

  listed(cards, current) {
    const before = this.sides.map(({ value }) => Number(value));
    const pair = before.join();
    const other = cards.find(({ version }) => version !== current)?.version ?? current;
    const versions = cards.map(({ version }) => version);
    // The live version is on the left until another one is chosen, also after it changed.
    if (before[0] === this.current) before[0] = current;
    Object.assign(this, { cards, current });
    this.#name();
    this.sides.forEach((side, i) => {
      side.value = versions.includes(before[i]) ? before[i] : [current, other][i];
    });
    if (this.answers && this.sides.map(({ value }) => value).join() === pair) this.#show();
    else this.#ask();
  }

  /** The list of versions was refused. */
  refused() {
    this.#show();
  }

  /** An image, and what the live version read; or nothing. */
  about(image, prediction) {
    Object.assign(this, { image, prediction });
    this.#ask();
  }

  #name() {
    for (const side of this.sides) {
      const { value } = side;
      side.replaceChildren(...this.cards.map(({ version }) => element("option", { value: version }, this.#title(version))));
      side.value = value;
    }
  }

  #title(version) {
    return t(version === this.current ? "version_live" : "version_number", { version });
  }

  async #ask() {
    const number = ++this.asked;
    this.answers = null;
    const versions = this.sides.map(({ value }) => value).filter(Boolean);
    if (this.image && versions.length === 2) {
      const answers = await Promise.all(versions.map((version) => this.#read(version)));
      if (number !== this.asked) return;
      this.answers = answers;
    }
    this.#show();
  }

  #read(version) {
    const { image, prediction } = this;
    if (Number(version) === prediction.version) return prediction;
    return read(image, `?version=${version}`).catch((problem) => ({ problem }));
  }

  #show() {
    for (const side of this.sides) side.hidden = this.#isLocked;
    byId("compared").replaceChildren(...(this.answers?.map((answer, i) => opinion(answer, this.#title(Number(this.sides[i].value)))) ?? [this.#hint()]));
  }

  /** The service keeps the list of versions to itself. */
  get #isLocked() {
    return !this.cards.length && !byId("give-key").hidden;
  }

  #hint() {
    const hint = element("p", { className: "small" }, t(this.#isLocked ? "needs_key" : "compare_hint"));
    if (this.#isLocked) hint.append(" ", button(t("give_key"), askForKey));
    return hint;
  }
}

function opinion({ problem, digit, confidence, is_digit, probabilities, reason, count }, title) {
  if (problem) return element("p", { className: "bad" }, ...problemNodes(problem));
  const second = probabilities.indexOf(Math.max(...probabilities.filter((_, i) => i !== digit)));
  const chance = probabilities[second];
  const next = chance < LEAST ? "" : t("then", { digit: second, sure: percent(chance) });
  const doubt = reason === "several_digits" ? t("several", { count }) : t("doubt");
  return element(
    "div",
    { className: is_digit ? "opinion" : "opinion doubtful" },
    element("span", { className: "hidden" }, title),
    element("b", {}, digit),
    element("span", {}, t("sure", { sure: percent(confidence) }), element("small", {}, is_digit ? next : doubt)),
  );
}
