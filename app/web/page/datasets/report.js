// What enters: a data set. What leaves: its counts by label, and its rejected and suspect images, as pictures. This module
// does not know how it came to the service.
import { element } from "../elements/dom.js";
import { number, percent, t } from "../language/words.js";
import { askJson } from "../service/api.js";

const LISTED = 12;

/** Return what the service says of a data set, as elements. */
export async function reportOf(dataset) {
  const { suspect, suspect_images, rejected, rejected_images } = dataset;
  const refusals = rejected.slice(0, LISTED).map(refusal);
  const doubts = await Promise.all(suspect.slice(0, LISTED).map((each) => doubt(each, dataset)));
  return [
    element("h3", {}, t("dataset_images", { name: dataset.name, n: number(dataset.images ?? 0) })),
    counts(dataset.labels ?? {}),
    ...(dataset.non_digits ? [element("p", { className: "small" }, t("non_digits", { n: number(dataset.non_digits) }))] : []),
    ...part("rejected", rejected_images, element("ul", { className: "small" }, ...refusals)),
    ...part("suspect", suspect_images, element("div", { className: "wall" }, ...doubts)),
  ];
}

function part(word, count, content) {
  const small = (name) => element("p", { className: "small" }, t(name));
  if (!count) return [small(`no_${word}`)];
  return [element("h3", {}, t(word, { n: number(count) })), small(`${word}_is`), content];
}

function counts(labels) {
  const most = Math.max(1, ...Object.values(labels));
  const column = (digit) => {
    const bar = element("i");
    bar.style.setProperty("--done", (labels[digit] ?? 0) / most);
    return element("li", {}, element("span", {}, number(labels[digit] ?? 0)), bar, element("b", {}, digit));
  };
  const columns = Array.from({ length: 10 }, (_, digit) => column(digit));
  return element("ol", { className: "counts", start: 0, "aria-label": t("by_label") }, ...columns);
}

function refusal({ name, code }) {
  const word = t(`code_${code}`);
  return element("li", {}, element("code", {}, name), " ", word === `code_${code}` ? code : word);
}

async function doubt(suspect, dataset) {
  const { label, digit, confidence, name } = suspect;
  const words = t("suspect_one", { label, digit, sure: percent(confidence, 0) });
  const picture = { alt: `${name}: ${words}`, title: name, width: 56, height: 56 };
  const image = element("img", { src: await pictureOf(suspect, dataset), ...picture });
  return element("figure", {}, image, element("figcaption", {}, words));
}

/** Ask for one image alone: it may be anywhere in the data set, where an image's id is its place. */
async function pictureOf({ id }, dataset) {
  const after = id === "0" ? "" : `&after=${id - 1}`;
  const { data } = await askJson(`datasets/${dataset.id}/images?limit=1${after}`);
  return data[0].image;
}
