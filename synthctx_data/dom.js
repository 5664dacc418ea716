"use strict";
// What the scripts of pages share. Everything that comes from data is put into a page as text, never as HTML.
globalThis.dom = (() => {
  function make(tag, options = {}, ...inside) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...inside);
    return made;
  }

  // Characters that would be invisible, or turn the text round, are shown by their number.
  const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;
  function visible(text) {
    const found = document.createDocumentFragment();
    let last = 0;
    for (const match of text.matchAll(ODD)) {
      const number = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      found.append(text.slice(last, match.index), make("span", { class: "odd" }, `U+${number}`));
      last = match.index + match[0].length;
    }
    found.append(text.slice(last));
    return found;
  }

  return { make, visible };
})();
