// What enters: the form of a training. What leaves: the hyperparameters that were chosen, checked by the
// same bounds as the service's. This module does not know what becomes of them.
import { byId, element } from "./dom.js";
import { inWords, number, t } from "./words.js";

const DEFAULTS = {
  documented: { epochs: 10, batch_size: 100, learning_rate: 0.01 },
  robust: { epochs: 200, batch_size: 200, learning_rate: 0.1 },
};

export class Wishes {
  constructor(form, start) {
    this.form = form;
    this.fields = [...form.querySelectorAll(".field > input")];
    this.fields.forEach((field) => {
      const bad = element("small", { className: "bad", id: `bad-${field.name}` });
      field.after(bad);
      field.setAttribute("aria-describedby", bad.id);
      field.addEventListener("input", () => this.#check(field));
    });
    form.addEventListener("change", () => this.#propose());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#areRight()) start(this.chosen());
    });
    inWords(() => this.fields.forEach((field) => field.ariaInvalid === "true" && this.#check(field)));
  }

  /** Give what differs from the service's defaults. */
  chosen() {
    const data = new FormData(this.form);
    const wishes = { recipe: data.get("recipe"), promote: data.get("promote") };
    for (const field of this.fields) {
      const value = field.value.trim();
      if (value) wishes[field.name] = field.type === "number" ? field.valueAsNumber : value;
    }
    // It is named only where it is wanted.
    return data.has("include_feedback") ? { ...wishes, include_feedback: true } : wishes;
  }

  /** Show a refusal of the service, beside the fields that it names. */
  refused(problem) {
    for (const { field: name, message } of problem.errors) {
      const field = this.fields.find((each) => each.name === name);
      if (field) this.#tell(field, message);
    }
    byId("refused").textContent = problem.words;
  }

  #areRight() {
    byId("refused").textContent = "";
    const wrong = this.fields.filter((field) => !this.#check(field));
    if (!wrong.length) return true;
    byId("advanced").open ||= wrong.some((field) => byId("advanced").contains(field));
    wrong[0].focus();
    return false;
  }

  #check(field) {
    this.#tell(field, complaint(field));
    return field.ariaInvalid !== "true";
  }

  #tell(field, message) {
    byId(`bad-${field.name}`).textContent = message;
    field.ariaInvalid = String(message !== "");
  }

  #propose() {
    const recipe = new FormData(this.form).get("recipe");
    for (const [name, value] of Object.entries(DEFAULTS[recipe])) {
      this.form.elements[name].placeholder = value;
    }
  }
}

function complaint(field) {
  const { validity, valueAsNumber: value, min, max, dataset } = field;
  const has = (limit) => limit !== undefined && limit !== "";
  if (validity.badInput) return t("must_number");
  if (validity.patternMismatch) return t("must_device");
  if (field.type !== "number" || field.value === "") return "";
  if (field.step === "1" && !Number.isInteger(value)) return t("must_whole");
  if (has(min) && value < Number(min)) return t("must_from", { min });
  if (has(max) && value > Number(max)) return t("must_to", { max: field.step === "1" ? number(max) : max });
  if (has(dataset.above) && value <= Number(dataset.above)) return t("must_above", dataset);
  if (has(dataset.below) && value >= Number(dataset.below)) return t("must_below", dataset);
  return "";
}
