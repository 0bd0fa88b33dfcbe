// Examples for an empty paper: ten digits, a letter, two digits and a photo. A drawing is the data of an
// SVG path in a square of 100, so that one text gives both the button's icon and the strokes.
import { pictureOf } from "./images.js";
import { button, byId } from "../elements/dom.js";
import { inWords, t } from "../language/words.js";

const SVG = "http://www.w3.org/2000/svg";
const DRAWINGS = {
  0: "M50 18C28 18 24 82 50 82S72 18 50 18",
  1: "M38 32L52 18V82",
  2: "M32 36C32 12 68 14 66 38C65 54 42 66 32 80H70",
  3: "M32 26C42 12 68 16 64 36C62 47 52 48 46 48C58 48 70 54 66 70C62 86 38 84 30 74",
  4: "M52 18L30 58H74M62 40V84",
  5: "M68 20H40L36 48C48 40 70 46 68 64C66 84 42 86 32 76",
  6: "M60 18C42 28 32 48 34 66C37 86 66 84 66 66C66 48 40 48 35 64",
  7: "M30 22H70L44 82",
  8: "M62 26C52 12 34 20 38 34C41 46 66 50 66 68C66 86 34 86 34 68C34 50 62 44 64 32C64 30 64 28 62 26",
  9: "M64 36C62 16 36 16 35 36C34 56 62 54 64 34L62 82",
  A: "M24 84L50 16L76 84M35 58H65",
  12: "M16 32L26 22V76M48 36C48 16 78 16 76 38C74 54 54 64 48 76H82",
};
const DIGITS_FIRST = (a, b) => a.length - b.length || (a > "9") - (b > "9") || a.localeCompare(b);
const STEP = 2.5; // between two points, in the units of the paths
const POINTS_PER_FRAME = 3;

/** Fill the buttons; one of them puts its example on the paper. */
export function offerExamples(paper) {
  const names = Object.keys(DRAWINGS).sort(DIGITS_FIRST);
  const buttons = names.map((name) => {
    const made = button("", () => write(paper, strokesOf(DRAWINGS[name])), { className: "example" });
    made.append(icon(DRAWINGS[name]));
    made.dataset.example = name;
    return made;
  });
  const photo = byId("photo");
  photo.before(...buttons);
  photo.addEventListener("click", () => showPhoto(paper, photo.querySelector("img")));
  inWords(() => {
    for (const each of buttons) each.setAttribute("aria-label", t("example", { name: each.dataset.example }));
    photo.querySelector("img").alt = t("photo_alt");
  });
}

function icon(path) {
  const [svg, line] = [document.createElementNS(SVG, "svg"), document.createElementNS(SVG, "path")];
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("aria-hidden", "true");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Return strokes on the unit square; each M of the path begins one. */
function strokesOf(path) {
  return path.split(/(?=M)/).map((part) => {
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("d", part);
    const length = line.getTotalLength();
    const count = Math.ceil(length / STEP);
    return Array.from({ length: count + 1 }, (_, i) => {
      const { x, y } = line.getPointAtLength((i / count) * length);
      return { x: x / 100, y: y / 100, w: 1 };
    });
  });
}

/** Write the strokes as a hand would, or all at once for readers who want no motion. */
async function write(paper, strokes) {
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const isNewest = paper.claim();
  for (const points of strokes) {
    paper.begin(points[0]);
    const step = isCalm ? points.length : POINTS_PER_FRAME;
    for (let at = 1; at < points.length; at += step) {
      paper.extend(points.slice(at, at + step));
      if (!isCalm) await new Promise(requestAnimationFrame);
      if (!isNewest()) return; // the reader draws, clears, or wants another example
    }
  }
  paper.end();
}

async function showPhoto(paper, { src }) {
  const isNewest = paper.claim();
  const blob = await (await fetch(src)).blob();
  const picture = await pictureOf(new File([blob], "photo.jpg", { type: blob.type }));
  if (isNewest()) paper.show(picture);
}
