// What a view looks like, for `looks.py`: each function is evaluated in the page.
({
  // Elements that reach out of the window, or whose content is cut off with no ellipsis.
  laidOut() {
    const name = (each) => (each.id ? `#${each.id}` : `${each.tagName.toLowerCase()}.${each.className}`);
    const { clientWidth, scrollWidth } = document.documentElement;
    const found = scrollWidth > clientWidth ? [`scrolls sideways: ${scrollWidth}`] : [];
    for (const each of document.querySelectorAll("body *")) {
      if (!each.checkVisibility({ visibilityProperty: true })) continue;
      if (each.closest(".hidden, .skip, svg, .scroll, pre, #docs")) continue;
      const style = getComputedStyle(each);
      const { left, right, width } = each.getBoundingClientRect();
      if (width && (right > innerWidth + 1 || left < -1)) found.push(`outside: ${name(each)} ${left}–${right}`);
      const isWider = each.clientWidth > 0 && each.scrollWidth > each.clientWidth + 1;
      const isCut = style.overflowX === "hidden" && style.textOverflow !== "ellipsis";
      const isOver = style.overflowX === "visible" && style.display !== "inline";
      if (isWider && (isCut || isOver))
        found.push(`wider than its box: ${name(each)}: ${each.textContent.trim().slice(0, 40)}`);
    }
    return found;
  },

  // What the view says, with its names for a screen reader; not what is marked as of another language.
  texts() {
    const isForeign = (each) => each.closest("[lang]:not(html), pre, script");
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const { parentElement, textContent } = walker.currentNode;
      if (parentElement.checkVisibility() && !isForeign(parentElement)) found.push(textContent.trim());
    }
    for (const attribute of ["aria-label", "title", "alt", "placeholder"]) {
      for (const each of document.querySelectorAll(`[${attribute}]`)) {
        if (each.checkVisibility() && !isForeign(each)) found.push(each.getAttribute(attribute));
      }
    }
    return [...new Set(found)].filter((text) => /\p{L}{3}/u.test(text));
  },

  height: () => document.documentElement.scrollHeight,
});
