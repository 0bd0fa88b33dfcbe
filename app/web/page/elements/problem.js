// What enters: an element and a refusal. What leaves: the refusal in the reader's language, and below it the words of
// the service. This module does not know what was asked.
import { element } from "./dom.js";

/** Say a problem in an element; with null it says nothing. */
export function showProblem(holder, problem) {
  holder.replaceChildren(...(problem ? problemNodes(problem) : []));
}

export function problemNodes(problem) {
  const { words = String(problem), message = "" } = problem;
  const detail = message.replace(/\.$/, "");
  if (!detail) return [words];
  const isSaid = words.includes(detail) && !words.endsWith(message);
  if (isSaid) return [words]; // beside the names of fields
  const sentence = words.endsWith(message) ? words.slice(0, -message.length).replace(/:?\s*$/, ".") : words;
  return [sentence, element("small", { className: "detail", lang: "en" }, message)];
}
