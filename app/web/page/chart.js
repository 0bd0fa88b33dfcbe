// What enters: series of points. What leaves: lines in an SVG that grow. This module does not know what
// is measured.

const [WIDTH, HEIGHT] = [440, 200];
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 10, 10, 26];
const STEPS = [1, 2, 5, 10];

export class Chart {
  /** `format` writes a value of the y axis; `from` and `to` bound it where they are given. */
  constructor(holder, { format, from, to }) {
    Object.assign(this, { format, from, to });
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    holder.append(this.svg);
    this.draw([], 1, "");
  }

  /** A series is {name, points: [{x, y}], dots}; x is in epochs, of `epochs`. */
  draw(series, epochs, label) {
    const values = series.flatMap(({ points }) => points.map(({ y }) => y));
    const low = this.from ?? (values.length ? Math.min(...values) : 0);
    const high = this.to ?? Math.max(...values, 0);
    const ticks = round(low, high > low ? high : low + 1, 4);
    const [bottom, top] = [ticks[0], ticks.at(-1)];
    const x = (value) => LEFT + (value / epochs) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - ((value - bottom) / (top - bottom)) * (HEIGHT - TOP - BOTTOM);
    this.svg.setAttribute("aria-label", label);
    this.svg.replaceChildren(
      ...ticks.flatMap((value) => this.#level(value, y(value))),
      ...wholes(epochs).map((value) => text(value, x(value), HEIGHT - 6, "middle")),
      ...series.flatMap((each) => line(each, x, y)),
    );
  }

  #level(value, y) {
    const line = shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y, class: "level" });
    return [line, text(this.format(value), LEFT - 7, y + 4, "end")];
  }
}

function line({ name, points, dots }, x, y) {
  const path = points.map((each) => `${x(each.x).toFixed(1)},${y(each.y).toFixed(1)}`).join(" ");
  const drawn = [shape("polyline", { points: path, class: `line ${name}` })];
  const marked = dots && points.length <= 60 ? points : points.slice(-1);
  const mark = (each) => shape("circle", { cx: x(each.x), cy: y(each.y), r: 3, class: `dot ${name}` });
  return drawn.concat(marked.map(mark));
}

/** Give round numbers that enclose low and high, about as many as wanted. */
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
