// The view Draw: what is on the paper is read, explained, corrected and compared. Each part is in the
// module that is named after it; this one connects them.
import { Answer } from "./answer.js";
import { Code } from "./code.js";
import { Compare } from "./compare.js";
import { offerExamples } from "./examples.js";
import { Feedback } from "./feedback.js";
import { takeImages } from "./images.js";
import { Lines } from "./lines.js";
import { Network } from "./network/network.js";
import { Paper } from "./paper.js";
import { drawWithKeys } from "./pen-keys.js";
import { Reader } from "./reader.js";
import { byId } from "../elements/dom.js";

/** Start the view, and return its paper, its comparison of versions, and how to paint it again. */
export function drawView() {
  const [answer, feedback, compare] = [new Answer(), new Feedback(), new Compare()];
  const [network, code] = [new Network(), new Code()];
  const paper = new Paper(byId("canvas"), changed);
  const explained = (...found) => network.explained(...found);
  const reader = new Reader(paper, { answered, settled, refused, explained });
  const lines = new Lines(paper);

  function changed(final) {
    byId("ghost").hidden = !paper.isBlank;
    byId("undo").disabled = !paper.past.length;
    byId("clear").disabled = paper.isBlank;
    if (paper.isBlank) clear();
    reader.changed(final);
  }

  function answered(prediction, final) {
    answer.answered(prediction, final);
    if (final) return;
    feedback.about(null);
    lines.about(false);
  }

  function settled(prediction, image) {
    const file = image instanceof Blob ? image : new Blob([image], { type: "image/png" });
    feedback.about({ id: prediction.id, image: file });
    lines.about(prediction.reason === "several_digits");
    compare.about(file, prediction);
    code.about(file);
  }

  function refused(problem) {
    answer.refused(problem);
    forgetDrawing();
  }

  function clear() {
    answer.forget();
    forgetDrawing();
  }

  function forgetDrawing() {
    network.forget();
    lines.about(false);
    feedback.about(null);
    compare.about(null);
    code.about(null);
  }

  connectTools(paper);
  offerExamples(paper);
  return { paper, compare, repaint: () => (paper.paint(), network.repaint()) };
}

function connectTools(paper) {
  drawWithKeys(paper, (words) => (byId("said").textContent = words));
  byId("undo").addEventListener("click", () => paper.undo());
  byId("clear").addEventListener("click", () => paper.clear());
  const buttons = [
    [byId("open"), byId("file")],
    [byId("camera"), byId("shot")],
  ];
  takeImages(byId("sheet"), buttons, paper);
}
