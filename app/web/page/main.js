// Wires the page: who hears of what. Everything else is in the modules that it names.
import { askForKey, onKey, Problem } from "./api.js";
import { Answer } from "./answer.js";
import { Compare } from "./compare.js";
import { Confusion } from "./confusion.js";
import { byId } from "./dom.js";
import { Paper } from "./draw.js";
import { Feedback } from "./feedback.js";
import { takeImages } from "./images.js";
import { JobView } from "./job.js";
import { drawWithKeys } from "./keys.js";
import { Reader } from "./predict.js";
import { Status } from "./status.js";
import { Training } from "./train.js";
import { Versions } from "./versions.js";
import { Wishes } from "./wishes.js";
import { begin, inWords, remember, t } from "./words.js";

const LOOK = 3000; // milliseconds

begin(byId("language"));
theme();
const paper = drawing();
training(versions());

function drawing() {
  const [answer, feedback] = [new Answer(), new Feedback()];
  const paper = new Paper(byId("canvas"), changed);
  const reader = new Reader(paper, { answered, refused, explained: (each) => answer.explained(each) });
  paper.compare = new Compare();

  function changed(final) {
    byId("ghost").hidden = !paper.isBlank;
    byId("undo").disabled = !paper.past.length;
    byId("clear").disabled = paper.isBlank;
    if (paper.isBlank) forget();
    reader.changed(final);
  }

  function answered(prediction, final, image) {
    answer.answered(prediction, final);
    feedback.about(final ? { id: prediction.id, image } : null);
    if (final) paper.compare.about(image);
  }

  function refused(problem) {
    answer.refused(problem);
    feedback.about(null);
  }

  function forget() {
    answer.forget();
    feedback.about(null);
    paper.compare.about(null);
  }

  drawWithKeys(paper, (words) => (byId("said").textContent = words));
  byId("undo").addEventListener("click", () => paper.undo());
  byId("clear").addEventListener("click", () => paper.clear());
  const buttons = [
    [byId("open"), byId("file")],
    [byId("camera"), byId("shot")],
  ];
  takeImages(byId("sheet"), buttons, (picture) => paper.show(picture));
  return paper;
}

function versions() {
  const confusion = new Confusion();
  return new Versions({
    chosen: (card) => confusion.show(card),
    listed: (cards, current) => paper.compare.listed(cards, current),
  });
}

function training(versions) {
  const view = new JobView();
  const renew = () => versions.refresh().catch(quietly);
  const training = new Training({
    show: (job, losses) => view.show(job, losses),
    interrupted: () => view.interrupted(),
    ended: renew,
  });
  const wishes = new Wishes(byId("wishes"), (chosen) =>
    training.start(chosen).catch((problem) => wishes.refused(problem)),
  );
  const refused = (problem) => (byId("eta").textContent = problem.words);
  byId("pause").addEventListener("click", () => training.pauseOrResume().catch(refused));
  byId("cancel").addEventListener("click", () => training.cancel().catch(refused));
  const status = new Status(renew);

  async function look() {
    if (document.visibilityState === "visible") {
      await Promise.all([status.look(), training.look().catch(quietly)]);
    }
    setTimeout(look, LOOK);
  }
  onKey(renew);
  byId("give-key").addEventListener("click", askForKey);
  renew();
  look();
}

function theme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  inWords(name);
  system.addEventListener("change", name);
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember("theme", root.dataset.theme);
    name();
    paper.paint();
  });

  function name() {
    const word = t(isDark() ? "light" : "dark");
    byId("theme").setAttribute("aria-label", word);
    byId("theme").title = word;
  }
}

/** Nobody asked: the status in small print tells, and the button that takes a key. */
function quietly(problem) {
  if (!(problem instanceof Problem)) throw problem;
}
