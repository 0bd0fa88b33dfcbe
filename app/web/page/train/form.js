// What enters: the form of a training. What leaves: the hyperparameters that were chosen, checked by the
// same bounds as the service's. This module does not know what becomes of them.
import { byId, element } from "../elements/dom.js";
import { showProblem } from "../elements/problem.js";
import { inWords, number, t } from "../language/words.js";

const DEFAULTS = {
  documented: { epochs: 10, batch_size: 100, learning_rate: 0.01 },
  quick: { epochs: 2, batch_size: 200, learning_rate: 0.006 },
  robust: { epochs: 200, batch_size: 200, learning_rate: 0.1 },
};

const TICKS = ["include_feedback", "keep_checkpoints"];
// Fields that the service has inside another one, and the fields of the form by those names.
const WRITTEN = {
  patience: (patience) => ({ early_stopping: { patience } }),
  init: (version) => ({ init: { version } }),
};
const SENT = { early_stopping: "patience" };
const plain = (value, name) => ({ [name]: value });

export class TrainForm {
  /** `datasets` knows with which of them a job is trained; `start(hyperparameters)` is called with the form. */
  constructor(form, datasets, start) {
    Object.assign(this, { form, datasets });
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

  /** Return what differs from the service's defaults. */
  chosen() {
    const data = new FormData(this.form);
    const chosen = { recipe: data.get("recipe"), promote: data.get("promote") };
    for (const field of this.fields) {
      const value = field.value.trim();
      const parsed = field.type === "number" ? field.valueAsNumber : value;
      if (value) Object.assign(chosen, (WRITTEN[field.name] ?? plain)(parsed, field.name));
    }
    for (const name of TICKS) if (data.has(name)) chosen[name] = true;
    return { ...chosen, ...this.datasets.chosen };
  }

  /** Tick that the next job learns from the corrections, too. */
  includeCorrections() {
    this.form.elements.include_feedback.checked = true;
    byId("advanced").open = true;
    this.form.querySelector("[type=submit]").focus();
  }

  /** Show a refusal of the service, beside the fields that it names. */
  refused(problem) {
    for (const { field: path, message } of problem.errors) {
      const [name] = path.split(".");
      const field = this.fields.find((each) => each.name === (SENT[name] ?? name));
      if (field) this.#tell(field, message);
      if (field) byId("advanced").open ||= byId("advanced").contains(field);
    }
    showProblem(byId("refused"), problem);
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
  if (has(dataset.above) && value <= Number(dataset.above)) return t("must_above", dataset);
  if (has(dataset.below) && value >= Number(dataset.below)) return t("must_below", dataset);
  if (has(min) && value < Number(min)) return t("must_from", { min });
  if (has(max) && value > Number(max)) return t("must_to", { max: field.step === "1" ? number(max) : max });
  return "";
}
