// What enters: the keys of someone who has no pointer. What leaves: strokes on the paper. This module
// does not know how strokes look.
import { t } from "../language/words.js";

const STEP = 0.025;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function drawWithKeys(paper, say) {
  const { canvas } = paper;
  const pressed = new Set();
  const at = () => (paper.cursor ??= { x: 0.5, y: 0.25, isDown: false });

  canvas.addEventListener("keydown", (event) => {
    if (event.altKey) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") paper.undo();
    else if (event.ctrlKey || event.metaKey) return;
    else if (event.key in ARROWS) move(event);
    else if (event.key === " ") turn();
    else if (event.key === "Backspace") act(() => paper.undo());
    else if (event.key === "Delete") act(() => paper.clear());
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("keyup", (event) => {
    if (!pressed.delete(event.key)) return;
    if (!pressed.size && paper.cursor?.isDown) paper.end();
  });
  canvas.addEventListener("blur", () => {
    pressed.clear();
    if (paper.cursor?.isDown) paper.end();
    paper.cursor = null;
    paper.paint();
  });

  function move(event) {
    pressed.add(event.key);
    const cursor = at();
    const step = event.shiftKey ? 3 * STEP : STEP;
    for (const key of pressed) {
      cursor.x = within(cursor.x + ARROWS[key][0] * step);
      cursor.y = within(cursor.y + ARROWS[key][1] * step);
    }
    if (cursor.isDown) paper.extend([point(cursor)]);
    else paper.paint();
  }

  function turn() {
    const cursor = at();
    cursor.isDown = !cursor.isDown;
    if (cursor.isDown) {
      paper.claim();
      paper.begin(point(cursor));
    } else paper.end();
    say(t(cursor.isDown ? "pen_down" : "pen_up"));
  }

  // What is undone may be the stroke under the pen.
  function act(change) {
    at().isDown = false;
    change();
  }
}

const point = ({ x, y }) => ({ x, y, w: 1 });
const within = (value) => Math.min(0.95, Math.max(0.05, value));
