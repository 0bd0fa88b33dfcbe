// What enters: the drawing at hand, and two versions. What leaves: what each of them reads. This module
// does not know which of them is better.
import { byId, element } from "./dom.js";
import { read } from "./predict.js";
import { inWords, percent, t } from "./words.js";

export class Compare {
  constructor() {
    this.image = null;
    this.answers = null;
    this.asked = 0;
    this.sides = [byId("left"), byId("right")];
    this.sides.forEach((side) => side.addEventListener("change", () => this.#ask()));
    inWords(() => this.#show());
  }

  listed(cards, current) {
    const before = this.sides.map(({ value }) => Number(value));
    const other = cards.find(({ version }) => version !== current)?.version ?? current;
    const versions = cards.map(({ version }) => version);
    this.sides.forEach((side, i) => {
      side.replaceChildren(...versions.map((each) => element("option", { value: each }, each)));
      side.value = versions.includes(before[i]) ? before[i] : [current, other][i];
    });
    this.#ask();
  }

  about(image) {
    this.image = image;
    this.#ask();
  }

  async #ask() {
    const number = ++this.asked;
    this.answers = null;
    const versions = this.sides.map(({ value }) => value).filter(Boolean);
    if (this.image && versions.length === 2) {
      const one = (version) => read(this.image, `?version=${version}`).catch((problem) => ({ problem }));
      const answers = await Promise.all(versions.map(one));
      if (number !== this.asked) return;
      this.answers = answers.map((answer, i) => ({ ...answer, version: versions[i] }));
    }
    this.#show();
  }

  #show() {
    const hint = element("p", { className: "small" }, t("compare_hint"));
    byId("compared").replaceChildren(...(this.answers?.map(card) ?? [hint]));
  }
}

function card({ version, problem, digit, confidence, is_digit, probabilities }) {
  if (problem) return element("p", { className: "bad" }, problem.words);
  const second = probabilities.indexOf(Math.max(...probabilities.filter((_, i) => i !== digit)));
  const next = `${second}: ${percent(probabilities[second])}`;
  return element(
    "div",
    { className: is_digit ? "opinion" : "opinion doubtful" },
    element("b", {}, digit),
    element("span", {}, t("sure", { sure: percent(confidence) })),
    element("small", {}, is_digit ? next : t("doubt")),
    element("small", { className: "of" }, `${t("version")} ${version}`),
  );
}
