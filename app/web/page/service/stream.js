// What enters: the address of server-sent events. What leaves: the events, one after the other, over
// connections that break. With `fetch`, since an EventSource cannot send a key. This module does not
// know what happened.
import { ask } from "./api.js";

const SOON = 1000;
const LONGEST = 15000;

/** Follow until the stream is over (204) or the signal aborts; `onBreak(isBroken)` when the connection breaks, and when
 * there is another one. */
export async function* follow(path, signal, onBreak = () => {}) {
  let last = "0";
  let wait = SOON;
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": last };
      const response = await ask(path, { headers, signal, quiet: true });
      if (response.status === 204) return;
      onBreak(false);
      for await (const event of events(response.body)) {
        if (event.id) last = event.id;
        wait = SOON;
        yield event;
      }
    } catch (error) {
      if (signal.aborted || (error.status >= 400 && error.status < 429)) return;
      onBreak(true);
    }
    await pause(wait, signal);
    wait = Math.min(2 * wait, LONGEST);
  }
}

async function* events(body) {
  let event = { data: [] };
  for await (const line of lines(body)) {
    if (line === "") {
      if (event.data.length) yield { ...event, data: JSON.parse(event.data.join("\n")) };
      event = { data: [] };
    } else if (!line.startsWith(":")) {
      const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (name === "data") event.data.push(value);
      else event[name] = value;
    }
  }
}

/** Give the lines of a body as they come. */
export async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r\n|\n|\r/);
      rest = parts.pop();
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {}); // it broke already, perhaps
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => resolve(clearTimeout(timer)), { once: true });
  });
}
