// Tables of 256 colours between two of the page's own, for cells of any activation: as CSS has them, and as numbers for
// ImageData, with a byte each for red, green, blue and opacity.
const probe = document.createElement("canvas");
probe.width = probe.height = 1;
const context = probe.getContext("2d", { willReadFrequently: true });

/** Return a CSS colour as [red, green, blue], whichever way it is written. */
function rgb(colour) {
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

function table(from, to) {
  const [a, b] = [rgb(from), rgb(to)];
  const colours = Array.from({ length: 256 }, (_, i) => {
    const share = (i / 255) ** 0.8; // small activations are to be seen, too
    return a.map((value, channel) => Math.round(value + (b[channel] - value) * share));
  });
  return {
    css: colours.map(([red, green, blue]) => `rgb(${red} ${green} ${blue})`),
    pixels: Uint32Array.from(colours, ([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red),
  };
}

/** Return the tables and colours of the theme that `element` has now. */
export function coloursOf(element) {
  const colour = (name) => resolve(element, name);
  const [off, ink, accent, wrong] = ["--cell-off", "--ink", "--accent", "--wrong"].map(colour);
  return { ink, accent, input: table(off, ink), cell: table(off, accent), against: table(off, wrong) };
}

/** A custom property may be `light-dark(…)`, which only a real property resolves. */
function resolve(element, name) {
  const before = element.style.getPropertyValue("outline-color");
  element.style.setProperty("outline-color", `var(${name})`);
  const colour = getComputedStyle(element).outlineColor;
  element.style.setProperty("outline-color", before);
  return colour;
}
