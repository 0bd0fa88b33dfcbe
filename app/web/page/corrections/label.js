// What a correction says that an image shows: one of ten digits, or no digit, which is null here as in the service's
// answers. What leaves: its words, and the form that stores it.
import { t } from "../language/words.js";

export const LABELS = [...Array(10).keys(), null];

/** The label on a button: `7`, or that it is no digit. */
export const brief = (label) => (label === null ? t("not_a_digit") : String(label));

/** The label in a sentence: `a 7`, `no digit`. */
export const phrase = (label) => (label === null ? t("no_digit") : t("correction_of", { label }));

export function formOf(image, label) {
  const form = new FormData();
  form.append("file", image, "digit.png");
  if (label === null) form.append("is_digit", "false");
  else form.append("label", label);
  return form;
}
