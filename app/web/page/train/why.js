// What enters: a job that has ended with a version. What leaves: why that version is live or is not, in the reader's language,
// and below it the words of the service if they say anything else. This module does not know which version is live now.
import { element } from "../elements/dom.js";
import { inEnglish, percent, t } from "../language/words.js";

const BEATEN = ["worse", "chance"];

export function whyNodes(job) {
  const { cause, explanation, reason } = job.result;
  const detail = explanation ?? reason;
  const service = () => element("small", { className: "detail", lang: "en" }, detail);
  if (!cause) return [service()]; // a job of an older release
  const isSame = plain(inEnglish(() => why(job))) === plain(detail);
  return [element("small", {}, why(job)), ...(isSame ? [] : [service()])];
}

function why({ epochs, hyperparameters, result }) {
  const { baseline, best_epoch, cause, stopped_by, version, test_accuracy } = result;
  const { max_seconds, recipe } = hyperparameters;
  const live = baseline && { live: baseline.version, better: percent(baseline.test_accuracy, 2) };
  const values = { version, accuracy: percent(test_accuracy, 2), ...live };
  const sentences = [t(`why_${cause}`, values)];
  const ending = { epochs: epochs.length, best_epoch, max_seconds: max_seconds ?? "" };
  if (stopped_by) sentences.unshift(t(`why_${stopped_by}`, ending));
  const isLesson = BEATEN.includes(cause) && recipe !== "robust" && baseline?.recipe === "robust";
  if (isLesson) sentences.push(t("why_lesson", { ...values, recipe: t(`recipe_${recipe}`) }));
  return sentences.join(" ");
}

const plain = (words) => words.replaceAll("\u00a0", " ");
