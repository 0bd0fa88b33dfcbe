// What enters: a version, and perhaps another one to compare it with. What leaves: the figures of their cards side by side,
// and what can be done with the version. This module does not know which images they confuse.
import { button, byId, element, fill } from "../elements/dom.js";
import { inWords, number, percent, t, when } from "../language/words.js";
import { go } from "../router.js";
import { ask } from "../service/api.js";
import { testOf } from "./versions.js";

const FORMS = ["safetensors", "pt", "onnx"];
const FIGURES = {
  accuracy: (card) => percent(card.test_accuracy, 2),
  interval: ({ test_accuracy_interval: [low, high] }) => `${percent(low, 2)} – ${percent(high, 2)}`,
  test_loss: (card) => number(card.test_loss, 4),
  calibration: (card) => (card.calibration_error === null ? "–" : number(card.calibration_error, 4)),
  recipe: (card) => (card.recipe ? t(card.recipe) : "–"),
  epochs: (card) => card.hyperparameters?.epochs ?? "–",
  trained_on: (card) => card.data?.train.map(({ name }) => name).join(" + ") ?? "–",
  test_dataset: testOf,
  seed: (card) => card.hyperparameters?.seed ?? "–",
  lineage: (card) => [t(card.origin), ...parentOf(card)].join(", "),
  made: (card) => when(card.created_at),
  note: (card) => card.note ?? "–",
};

/** The version whose weights it began with, or the one that was live when it was trained. */
function parentOf({ hyperparameters, parent }) {
  if (parent === null) return [];
  return [t(hyperparameters?.init ? "parent_init" : "parent_live", { parent })];
}

export class CardView {
  constructor(versions) {
    Object.assign(this, { versions, card: null, other: null });
    byId("compared-with").addEventListener("change", (event) => {
      go("versions", [this.card.version, event.target.value].filter(Boolean).join(","));
    });
    inWords(() => this.#show());
  }

  show(card, other) {
    Object.assign(this, { card, other });
    this.#show();
  }

  #show() {
    const { card, other, versions } = this;
    if (!card) return;
    const { version } = card;
    byId("card-title").textContent = t("version_n", { version });
    const others = versions.cards.filter((each) => each.version !== version).map((each) => each.version);
    const options = [["", t("nothing")], ...others.map((each) => [each, t("version_n", { version: each })])];
    const option = ([value, word]) => element("option", { value }, word);
    fill(byId("compared-with"), options, () => options.map(option));
    byId("compared-with").value = other?.version ?? "";
    byId("figures-fold").open ||= other !== null;
    fill(byId("figures"), [card, other], () => this.#figures());
    fill(byId("downloads"), [version, versions.current], () => this.#actions(version));
  }

  #actions(version) {
    const download = (form) => {
      const label = { "aria-label": t("download_as", { version, form }) };
      return button(form, () => this.#download(version, form), label);
    };
    const actions = [element("span", { className: "small" }, t("download")), ...FORMS.map(download)];
    if (version === this.versions.current) return actions;
    const label = { "aria-label": `${t("delete_job")} ${version}` };
    return [...actions, button(t("delete_job"), () => this.versions.delete(version), label)];
  }

  #figures() {
    const shown = [this.card, this.other].filter(Boolean);
    const heads = shown.map(({ version }) => element("th", { scope: "col" }, t("version_n", { version })));
    const rows = Object.entries(FIGURES).map(([word, figure]) => {
      const cells = shown.map((card) => element("td", {}, figure(card)));
      return element("tr", { className: word }, element("th", { scope: "row" }, t(word)), ...cells);
    });
    return [...(this.other ? [element("tr", {}, element("td"), ...heads)] : []), ...rows];
  }

  /** Not a plain link, which could not send a key. */
  async #download(version, form) {
    try {
      const response = await ask(`models/${version}/weights?format=${form}`);
      const href = URL.createObjectURL(await response.blob());
      element("a", { href, download: `mynet-${version}.${form}` }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
    } catch (problem) {
      this.versions.refused(problem);
    }
  }
}
