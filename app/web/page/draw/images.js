// What enters: files that are dropped, pasted, chosen or photographed. What leaves: a picture, the file
// and what the browser can show of it. This module does not know what an image is: the service does.

const LARGEST = 8 * 1024 * 1024; // bytes; the service takes ten million
const SIDE = 2048;

/** Let the reader choose, paste or drop an image; `paper` shows it if nothing newer is on it by then. */
export function takeImages(sheet, buttons, paper) {
  for (const [button, input] of buttons) {
    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      take(input.files);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  addEventListener("paste", (event) => take(event.clipboardData.files));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    sheet.classList.add("over");
  });
  addEventListener("dragleave", () => sheet.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    sheet.classList.remove("over");
    take(event.dataTransfer.files);
  });

  async function take([file]) {
    if (!file) return;
    const isNewest = paper.claim();
    const picture = await pictureOf(file);
    if (isNewest()) paper.show(picture);
  }
}

/** Return a picture for the paper: the file, and what the browser can show of it. */
export async function pictureOf(file) {
  // A browser does not know all that the service reads: then nothing is to be seen on the sheet.
  const bitmap = await createImageBitmap(file).catch(() => null);
  const isLarge = bitmap && file.size > LARGEST;
  const scale = isLarge ? Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height)) : 1;
  const sent = isLarge ? await scaled(bitmap, scale) : file;
  return { file: sent, bitmap, scale, name: file.name };
}

async function scaled(bitmap, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
