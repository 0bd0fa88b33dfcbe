// One answer in three states: nothing yet, a digit, or a sentence that says why it is not one digit.
import { byId, element } from "../elements/dom.js";
import { problemNodes, showProblem } from "../elements/problem.js";
import { inWords, percent, t } from "../language/words.js";

const TOP = 3; // bars that are shown at first

export class Answer {
  constructor() {
    Object.assign(this, { prediction: null, problem: null, isFinal: false, isUnfolded: false });
    this.bars = Array.from({ length: 10 }, bar);
    byId("bars").replaceChildren(...this.bars.map(({ item }) => item));
    byId("all-ten").addEventListener("click", () => {
      this.isUnfolded = !this.isUnfolded;
      this.#show();
    });
    inWords(() => this.#show());
  }

  answered(prediction, isFinal) {
    Object.assign(this, { prediction, isFinal, problem: null });
    this.#show();
    if (isFinal) byId("said").textContent = this.#spoken();
  }

  refused(problem) {
    Object.assign(this, { prediction: null, problem });
    this.#show();
    showProblem(byId("said"), problem);
  }

  forget() {
    Object.assign(this, { prediction: null, problem: null });
    this.#show();
    byId("said").textContent = "";
  }

  /** While ink flows, most drawings are no digit yet: the sentence waits for the pen to be lifted. */
  get #state() {
    if (this.problem) return "sentence";
    if (!this.prediction) return "nothing";
    return this.isFinal && !this.prediction.is_digit ? "sentence" : "digit";
  }

  #show() {
    const { prediction, problem } = this;
    byId("answer").dataset.state = this.#state;
    byId("digit").textContent = prediction?.digit ?? "?";
    byId("digit").className = prediction?.is_digit === false ? "doubtful" : "";
    byId("sure").textContent = prediction ? t("sure", { sure: percent(prediction.confidence) }) : "";
    const sentence = this.#state === "sentence" && !problem ? [this.#sentence()] : [];
    byId("doubt").replaceChildren(...(problem ? problemNodes(problem) : sentence));
    byId("nearest").textContent = prediction?.reason === "not_a_digit" ? this.#nearest() : "";
    byId("all-ten").textContent = t(this.isUnfolded ? "top_three" : "all_ten");
    byId("all-ten").setAttribute("aria-expanded", this.isUnfolded);
    this.#showBars();
  }

  /** The three most probable digits, or all ten in their order. */
  #showBars() {
    const { prediction, isUnfolded } = this;
    const probabilities = prediction?.probabilities ?? Array(10).fill(0);
    const digits = [...probabilities.keys()];
    if (!isUnfolded) digits.sort((a, b) => probabilities[b] - probabilities[a]);
    byId("bars").className = isUnfolded ? "all" : "";
    this.bars.forEach(({ item, name, fill, share }, i) => {
      const digit = digits[i];
      item.hidden = !isUnfolded && i >= TOP;
      item.className = digit === prediction?.digit ? "first" : "";
      name.textContent = digit;
      fill.style.setProperty("transform", `scaleX(${probabilities[digit]})`);
      share.textContent = percent(probabilities[digit]);
    });
  }

  #sentence() {
    const { reason, count } = this.prediction;
    return reason === "several_digits" ? t("several", { count }) : t("doubt");
  }

  #nearest() {
    const { digit, confidence } = this.prediction;
    return t("nearest", { digit, sure: percent(confidence) });
  }

  #spoken() {
    const { digit, confidence, reason } = this.prediction;
    if (reason) return [this.#sentence(), reason === "not_a_digit" ? this.#nearest() : ""].join(" ").trim();
    return t("said", { digit, sure: percent(confidence) });
  }
}

function bar() {
  const [name, fill, share] = [element("b"), element("i"), element("span", { className: "share" })];
  const track = element("span", { className: "track" }, fill);
  return { item: element("li", {}, name, track, share), name, fill, share };
}
