// What enters: a word's name and values. What leaves: the word in the reader's language. This module
// does not know where on the page words stand, but for the elements that name theirs.
import enDatasets from "./words-en-datasets.js";
import enTrain from "./words-en-train.js";
import enVersions from "./words-en-versions.js";
import en from "./words-en.js";
import ptDatasets from "./words-pt-datasets.js";
import ptTrain from "./words-pt-train.js";
import ptVersions from "./words-pt-versions.js";
import pt from "./words-pt.js";

const LANGUAGES = {
  en: ["en", { ...en, ...enTrain, ...enDatasets, ...enVersions }],
  pt: ["pt-BR", { ...pt, ...ptTrain, ...ptDatasets, ...ptVersions }],
};
const listeners = [];
let language = remembered() ?? (navigator.language.toLowerCase().startsWith("pt") ? "pt" : "en");

function remembered() {
  const found = recall("language");
  return found in LANGUAGES ? found : undefined;
}

export function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage may be forbidden
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // It holds until the page is closed, then.
  }
}

/** Return a word; `NAME_one` is its form for `n` of 1, if it has one. */
export function t(name, values = {}) {
  const words = LANGUAGES[language][1];
  const word = (String(values.n) === "1" && words[`${name}_one`]) || (words[name] ?? name);
  const said = word.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  return said.replaceAll(" %", "\u00a0%"); // a line does not end between them
}

/** Return what `say` returns in English, the language of the service's own words. */
export function inEnglish(say) {
  const readers = language;
  language = "en";
  try {
    return say();
  } finally {
    language = readers;
  }
}

export const locale = () => LANGUAGES[language][0];

const formats = {}; // to make one takes longer than to use it

export function number(value, digits = 0) {
  const name = `${locale()} ${digits}`;
  const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  formats[name] ??= new Intl.NumberFormat(locale(), form);
  return formats[name].format(value);
}

export function percent(share, digits = 1) {
  // What is not certain is not shown as if it were.
  const most = share < 1 ? 1 - 10 ** -(digits + 2) : 1;
  return `${number(100 * Math.min(share, most), digits)}\u00a0%`;
}

const moment = (time, form) => new Intl.DateTimeFormat(locale(), form).format(new Date(time));
export const when = (time) => moment(time, { dateStyle: "medium", timeStyle: "short" });
export const day = (time) => moment(time, { dateStyle: "medium" });
/** The time of a moment today, the day of any other. */
export const brief = (time) => (day(time) === day(new Date()) ? clock(time) : day(time));
export const clock = (time) => moment(time, { timeStyle: "short" });

export function duration(seconds) {
  const n = Math.ceil(seconds);
  if (n < 90) return t("seconds", { n });
  return n < 5400 ? t("minutes", { n: Math.round(n / 60) }) : t("hours", { n: number(n / 3600, 1) });
}

/** Call now and whenever the language changes. */
export function inWords(show) {
  listeners.push(show);
  show();
}

export function setWord(element, name, values) {
  element.dataset.word = name;
  element.textContent = t(name, values);
}

export function begin(button) {
  button.addEventListener("click", () => {
    language = language === "en" ? "pt" : "en";
    remember("language", language);
    listeners.forEach((show) => show());
  });
  inWords(() => {
    document.documentElement.lang = locale();
    translate(document);
    button.textContent = t("other_language");
    button.lang = language === "en" ? "pt-BR" : "en";
  });
}

function translate(root) {
  for (const each of root.querySelectorAll("[data-word]")) {
    const word = t(each.dataset.word);
    if (!word.includes("{")) each.textContent = word;
  }
  for (const each of root.querySelectorAll("[data-word-label]")) {
    each.setAttribute("aria-label", t(each.dataset.wordLabel));
  }
  for (const each of root.querySelectorAll("[data-word-placeholder]")) {
    each.placeholder = t(each.dataset.wordPlaceholder);
  }
}
