// What enters: mouse, pen and finger. What leaves: a sheet with strokes or a picture, and word of each
// change. This module does not know what becomes of it.
import { extent, paint, toPng } from "./strokes.js";

const SPECK = 0.1; // of the side: no digit yet
const READ_SIDE = 768; // pixels of a drawing with several digits
const DRAWING = { width: READ_SIDE, height: READ_SIDE };
const BLANK = { strokes: [], picture: null };

export class Paper {
  /** `changed(final)` is called as ink flows, and with true when the pen is lifted. */
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, now: BLANK, changes: 0, past: [], pen: null, cursor: null, boxes: [] });
    this.claims = 0;
    this.context = canvas.getContext("2d", { desynchronized: true });
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#up(event));
    new ResizeObserver(() => this.#fit()).observe(canvas);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.paint());
  }

  get isBlank() {
    return !this.now.strokes.length && !this.now.picture;
  }

  get isSpeck() {
    return !this.now.picture && extent(this.now.strokes) < SPECK;
  }

  /** Give what is on the sheet for the service: a file, or the bytes of a PNG, which are sent sooner. */
  image() {
    return this.now.picture?.file ?? toPng(this.now.strokes);
  }

  /** Give it large enough for several digits. */
  imageToRead() {
    return this.now.picture?.file ?? toPng(this.now.strokes, READ_SIDE);
  }

  /** Show boxes, [left, top, right, bottom] in pixels of the image to read. */
  showBoxes(digits) {
    if (!this.boxes.length && !digits.length) return;
    this.boxes = digits;
    this.paint();
  }

  /**
   * Announce something that will come on the paper, and return a function that says whether nothing was announced, drawn
   * or taken back since.
   */
  claim() {
    const claim = ++this.claims;
    return () => claim === this.claims;
  }

  begin(point) {
    // A picture gives way to a drawing.
    this.#become({ strokes: [...this.now.strokes, [point]], picture: null });
    this.#tell(false);
  }

  extend(points) {
    this.now.strokes.at(-1).push(...points);
    this.changes++;
    this.#tell(false);
  }

  end() {
    this.#tell(true);
  }

  show(picture) {
    this.#become({ strokes: [], picture });
    this.#tell(true);
  }

  clear() {
    this.claim();
    if (!this.isBlank) this.#become(BLANK);
    this.#tell(true);
  }

  undo() {
    this.claim();
    if (this.past.length) this.now = this.past.pop();
    this.boxes = [];
    this.changes++;
    this.#tell(true);
  }

  paint() {
    const { canvas, context } = this;
    const side = canvas.width;
    const style = getComputedStyle(canvas);
    context.clearRect(0, 0, side, side);
    if (this.now.picture) this.#paintPicture(side);
    paint(context, side, this.now.strokes, style.color);
    if (this.boxes.length) this.#paintBoxes(side, style);
    if (this.cursor) this.#paintCursor(side, style);
  }

  #paintBoxes(side, style) {
    const { context } = this;
    const { bitmap, scale: sent } = this.now.picture ?? { bitmap: DRAWING, scale: 1 };
    if (!bitmap) return;
    const fit = Math.min(side / bitmap.width, side / bitmap.height);
    const [x, y] = [(side - bitmap.width * fit) / 2, (side - bitmap.height * fit) / 2];
    const scale = fit / sent;
    context.lineWidth = 1.5 * devicePixelRatio;
    context.strokeStyle = context.fillStyle = style.accentColor;
    context.font = `${13 * devicePixelRatio}px system-ui, sans-serif`;
    for (const { digit, box } of this.boxes) {
      const [left, top, right, bottom] = box.map((edge) => edge * scale);
      context.strokeRect(x + left, y + top, right - left, bottom - top);
      context.fillText(digit, x + left, y + top - 4 * devicePixelRatio);
    }
  }

  #become(state) {
    this.boxes = [];
    this.past.push(this.now);
    this.now = state;
    this.changes++;
  }

  #tell(final) {
    this.changed(final); // first: the request is on its way while the paper is painted
    this.paint();
  }

  #down(event) {
    if (this.pen !== null || event.button !== 0) return;
    this.pen = event.pointerId;
    this.cursor = null;
    this.claim();
    this.canvas.setPointerCapture(event.pointerId);
    this.begin(this.#point(event));
  }

  #move(event) {
    if (event.pointerId !== this.pen) return;
    const all = event.getCoalescedEvents?.() ?? [];
    this.extend((all.length ? all : [event]).map((each) => this.#point(each)));
  }

  #up(event) {
    if (event.pointerId !== this.pen) return;
    this.pen = null;
    this.end();
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    const w = event.pointerType === "pen" ? 0.5 + event.pressure : 1;
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height, w };
  }

  #fit() {
    const side = Math.round(this.canvas.clientWidth * devicePixelRatio);
    if (!side || side === this.canvas.width) return;
    this.canvas.width = this.canvas.height = side;
    this.paint();
  }

  #paintPicture(side) {
    const { bitmap } = this.now.picture;
    if (!bitmap) return;
    const scale = Math.min(side / bitmap.width, side / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    this.context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
  }

  #paintCursor(side, style) {
    const { x, y, isDown } = this.cursor;
    this.context.beginPath();
    this.context.arc(x * side, y * side, side * 0.031, 0, 2 * Math.PI);
    this.context.lineWidth = 2 * devicePixelRatio;
    this.context.strokeStyle = style.accentColor;
    this.context.stroke();
    if (!isDown) return;
    this.context.fillStyle = this.context.strokeStyle;
    this.context.fill();
  }
}
