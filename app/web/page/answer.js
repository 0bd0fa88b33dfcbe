// What enters: a prediction. What leaves: the digit, its bars, what the network saw and why. This
// module does not know where predictions come from.
import { byId, element } from "./dom.js";
import { inWords, percent, t } from "./words.js";

export class Answer {
  constructor() {
    this.prediction = this.problem = this.explanation = null;
    this.isWhy = false;
    this.bars = Array.from({ length: 10 }, (_, digit) => bar(digit));
    byId("bars").replaceChildren(...this.bars.map((each) => each.item));
    byId("explain").addEventListener("click", () => {
      this.isWhy = !this.isWhy;
      this.#showLooks();
    });
    inWords(() => {
      this.#show();
      this.#showLooks();
    });
  }

  answered(prediction, final) {
    Object.assign(this, { prediction, problem: null });
    this.#show();
    if (final) this.#say();
    else this.explained(null);
  }

  explained(explanation) {
    this.explanation = explanation;
    this.#showLooks();
  }

  refused(problem) {
    Object.assign(this, { prediction: null, problem, explanation: null });
    this.#show();
    this.#showLooks();
    byId("said").textContent = problem.words;
  }

  forget() {
    Object.assign(this, { prediction: null, problem: null, explanation: null });
    this.#show();
    this.#showLooks();
    byId("said").textContent = "";
  }

  #show() {
    const { prediction, problem } = this;
    const isDoubtful = prediction !== null && !prediction.is_digit;
    byId("digit").textContent = prediction?.digit ?? (problem ? "–" : "?");
    byId("digit").className = prediction ? (isDoubtful ? "doubtful" : "") : "none";
    byId("sure").textContent = prediction ? percent(prediction.confidence) : "";
    byId("doubt").textContent = isDoubtful ? t("doubt") : (problem?.words ?? "");
    this.bars.forEach(({ item, fill, share }, digit) => {
      const probability = prediction?.probabilities[digit] ?? 0;
      fill.style.transform = `scaleX(${probability})`;
      share.textContent = prediction ? percent(probability) : "";
      item.classList.toggle("first", digit === prediction?.digit);
    });
  }

  #say() {
    const { digit, confidence, is_digit } = this.prediction;
    const said = t(is_digit ? "said" : "said_doubt", { digit, sure: percent(confidence) });
    byId("said").textContent = said;
  }

  #showLooks() {
    const { explanation } = this;
    const isShown = this.isWhy && explanation !== null;
    look(byId("seen"), explanation?.seen, t("seen_alt"));
    look(byId("saliency"), explanation?.saliency, t("saliency_alt", explanation ?? { digit: "" }));
    byId("why").hidden = !isShown;
    byId("explain").disabled = explanation === null;
    byId("explain").setAttribute("aria-expanded", isShown);
    byId("explain").textContent = t(isShown ? "why_not" : "why");
  }
}

function look(image, source, alt) {
  image.alt = source ? alt : "";
  if (source) image.src = source;
  else image.removeAttribute("src");
}

function bar(digit) {
  const fill = element("i");
  const share = element("span", { className: "share" });
  const track = element("span", { className: "track" }, fill);
  return { item: element("li", {}, element("b", {}, digit), track, share), fill, share };
}
