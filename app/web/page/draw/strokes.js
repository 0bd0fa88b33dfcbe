// What enters: strokes, with points of a unit square. What leaves: ink on a canvas of any size, or a
// PNG. This module does not know which pen or finger made them.

const PEN = 0.062; // of the side
const SIDE = 128; // the service reads images up to this size the quick way

// One for all images: a new canvas takes as long as the drawing on it.
const sheet = document.createElement("canvas").getContext("2d", { alpha: false, willReadFrequently: true });

/** Paint strokes; a point is {x, y, w}, where w is 1 for the usual width. */
export function paint(context, side, strokes, ink) {
  context.strokeStyle = ink;
  context.lineCap = context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    points.forEach((point, i) => {
      const before = middle(points[i - 1] ?? point, point);
      const after = middle(point, points[i + 1] ?? point);
      // As few paths as there are widths: where two meet, their edges show.
      if (point.w !== points[i - 1]?.w) {
        context.stroke();
        context.beginPath();
        context.lineWidth = PEN * side * point.w;
        context.moveTo(before.x * side, before.y * side);
      }
      // A line of no length is a dot, with round caps.
      context.quadraticCurveTo(point.x * side, point.y * side, after.x * side, after.y * side);
    });
    context.stroke();
  }
}

/** Say how far the ink reaches, of the side. */
export function extent(strokes) {
  const points = strokes.flat();
  const reach = (values) => Math.max(...values) - Math.min(...values);
  return Math.max(reach(points.map(({ x }) => x)), reach(points.map(({ y }) => y)));
}

/** Give the bytes of a PNG, black on white. Not `toBlob`, which browsers put off until they are idle. */
export function toPng(strokes, side = SIDE) {
  sheet.canvas.width = sheet.canvas.height = side;
  sheet.fillStyle = "#fff";
  sheet.fillRect(0, 0, side, side);
  paint(sheet, side, strokes, "#000");
  const packed = atob(sheet.canvas.toDataURL("image/png").split(",")[1]);
  return Uint8Array.from(packed, (each) => each.charCodeAt(0));
}

function middle(a, b) {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}
