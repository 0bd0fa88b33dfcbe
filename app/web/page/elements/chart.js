// What enters: series of points, and the epoch under the pointer. What leaves: lines in an SVG, and the epoch that a
// reader points at. This module does not know what is measured.

const [WIDTH, HEIGHT] = [440, 150];
const [LEFT, RIGHT, TOP, BOTTOM] = [50, 10, 10, 26];
const STEPS = [1, 2, 5, 10];

export class Chart {
  /** `format` writes a value of the y axis; `from` and `to` bound it; `pointed(x)` tells an epoch, or null. */
  constructor(holder, { format, from, to, pointed }) {
    Object.assign(this, { format, from, to, pointed, epochs: 1, cursor: null });
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: 0 });
    holder.append(this.svg);
    this.svg.addEventListener("pointermove", (event) => this.pointed(this.#epochAt(event)));
    this.svg.addEventListener("pointerleave", () => this.pointed(null));
    this.svg.addEventListener("blur", () => this.pointed(null));
    this.svg.addEventListener("keydown", (event) => this.#step(event));
    this.draw([], 1, "");
  }

  /** A series is {className, points: [{x, y}], dots}; x is in epochs, of `epochs`. `level` is a value of its own. */
  draw(series, epochs, label, level = null) {
    const values = [...series.flatMap(({ points }) => points.map(({ y }) => y)), ...(level === null ? [] : [level])];
    const low = Math.min(this.from, ...values);
    const high = this.to ?? Math.max(...values, low);
    const ticks = round(low, high > low ? high : low + 1, 4);
    const [bottom, top] = [ticks[0], ticks.at(-1)];
    this.epochs = epochs;
    this.x = (value) => LEFT + (value / epochs) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - ((value - bottom) / (top - bottom)) * (HEIGHT - TOP - BOTTOM);
    this.svg.setAttribute("aria-label", label);
    this.svg.replaceChildren(
      ...ticks.flatMap((value) => this.#tick(value, y(value))),
      ...wholes(epochs).map((value) => text(value, this.x(value), HEIGHT - 6, "middle")),
      ...(level === null ? [] : [across(y(level), "line live")]),
      ...series.flatMap((each) => line(each, this.x, y)),
      this.#cursorLine(),
    );
  }

  /** Mark an epoch, or none. */
  mark(epoch) {
    this.cursor = epoch;
    this.svg.lastChild?.replaceWith(this.#cursorLine());
  }

  #cursorLine() {
    const at = this.x(this.cursor ?? 0);
    const visibility = this.cursor === null ? "hidden" : "visible";
    return shape("line", { x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM, class: "cursor", visibility });
  }

  #tick(value, y) {
    return [across(y, "level"), text(this.format(value), LEFT - 7, y + 4, "end")];
  }

  #epochAt({ clientX }) {
    const box = this.svg.getBoundingClientRect();
    const x = ((clientX - box.left) / box.width) * WIDTH;
    return this.#within(((x - LEFT) / (WIDTH - LEFT - RIGHT)) * this.epochs);
  }

  #step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.pointed(this.#within((this.cursor ?? (by > 0 ? 0 : this.epochs + 1)) + by));
  }

  #within(epoch) {
    return Math.max(1, Math.min(this.epochs, Math.round(epoch)));
  }
}

const across = (y, className) => shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y, class: className });

function line({ className, points, dots }, x, y) {
  const path = points.map((each) => `${x(each.x).toFixed(1)},${y(each.y).toFixed(1)}`).join(" ");
  const drawn = [shape("polyline", { points: path, class: `line ${className}` })];
  const marked = dots && points.length <= 60 ? points : points.slice(-1);
  const mark = (each) => shape("circle", { cx: x(each.x), cy: y(each.y), r: 3, class: `dot ${className}` });
  return drawn.concat(marked.map(mark));
}

/** Return round numbers that enclose low and high, about as many as wanted. */
function round(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * STEPS.find((each) => each * power >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function wholes(epochs) {
  const step = Math.max(1, ...round(0, epochs, 10).slice(1, 2));
  return Array.from({ length: Math.floor(epochs / step) + 1 }, (_, i) => i * step);
}

function text(content, x, y, anchor) {
  const made = shape("text", { x, y, "text-anchor": anchor });
  made.textContent = content;
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
