"use strict";
// Draws on the text of a row where heads look while a model writes a token.
(() => {
  const { make, visible } = globalThis.dom;
  const LOOKED = 0.1; // of a head's attention: a document with less, and no needle, is folded
  const LISTED = 3;
  let groups = 0;
  const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}\u00a0%`;
  const strength = (share) => Math.sqrt(share).toFixed(3); // the same for every token and head, and small shares can be seen
  const SCALE = [0.01, 0.1, 0.5, 1];
  const plain = (text) => text.trim() || (text.includes("\n") ? "⏎" : text ? "␣" : "∅");

  // The shares on the spots, by their start, of one head or of all (their mean), while a token is written.
  function chosen(answer, token, head) {
    const heads = head === null ? answer.attention[token] : [answer.attention[token][head]];
    const spots = new Map();
    for (const one of heads) {
      for (const [start, end, share] of one.spots) {
        const known = spots.get(start) || { start, end, share: 0 };
        known.share += share / heads.length;
        spots.set(start, known);
      }
    }
    return { needles: heads.reduce((sum, one) => sum + one.needles, 0) / heads.length, spots: [...spots.values()] };
  }

  // The text from one character to another, with what is looked at and the needles marked.
  function painted(row, from, to, spots, most) {
    const borders = new Set([from, to]);
    const inside = spots.filter((spot) => spot.end > from && spot.start < to);
    const needles = row.needles.filter((needle) => needle.end > from && needle.start < to);
    for (const one of [...inside, ...needles]) for (const edge of [one.start, one.end]) if (edge > from && edge < to) borders.add(edge);
    const ordered = [...borders].sort((a, b) => a - b);
    return ordered.slice(0, -1).map((start, i) => {
      const text = visible(row.letters.slice(start, ordered[i + 1]).join(""));
      const spot = inside.find((one) => one.start <= start && start < one.end);
      const kind = needles.some((needle) => needle.start <= start && start < needle.end) ? "needle" : null;
      if (!spot) return kind ? make("span", { class: kind }, text) : text;
      const mark = make("mark", { class: `${kind || ""} ${spot.share === most ? "strongest" : ""}`, title: percent(spot.share) }, text);
      mark.style.setProperty("--share", strength(spot.share));
      return mark;
    });
  }

  // The documents that stay open: those with needles, and those that any head looks at while any token is written.
  function open(row, view) {
    const found = new Set(row.needles.map((needle) => needle.document));
    const starts = view.answers.flatMap((answer) => answer.attention.flat().flatMap((one) => one.spots.filter((spot) => spot[2] >= LOOKED).map((spot) => spot[0])));
    row.documents.forEach((document, number) => { if (starts.some((start) => start >= document.start && start < document.end)) found.add(number); });
    return found;
  }

  // The text in segments, in order: open ones, and runs of documents that are folded.
  function segments(row, view) {
    const opened = open(row, view), found = [];
    let head = row.documents[0].start;
    while (head > 0 && row.letters[head - 1] === "\n") head -= 1;
    let at = row.letters.lastIndexOf("\n", head - 1) + 1, folded = 0, first = 0; // behind what stands before the first document's heading
    if (at) found.push({ from: 0, to: at });
    row.documents.forEach((document, number) => {
      const from = number ? row.documents[number - 1].end : at;
      if (opened.has(number)) {
        if (folded) { found.push({ from: first, to: from, folded }); folded = 0; at = from; }
        found.push({ from: at, to: document.end });
        at = document.end;
      } else {
        if (!folded) first = at;
        folded += 1;
      }
    });
    if (folded) { const to = row.documents.at(-1).end; found.push({ from: first, to, folded }); at = to; }
    found.push({ from: at, to: row.letters.length });
    for (const one of found) while (row.letters[one.from] === "\n" && one.from < one.to) one.from += 1;
    return found;
  }

  // A segment in the page, with a function that paints it. One that is folded is painted when it is unfolded.
  function shown(row, segment) {
    const body = make("div", { class: "text" });
    if (!segment.folded) return { node: body, paint: (spots, most) => body.replaceChildren(...painted(row, segment.from, segment.to, spots, most)) };
    const count = `${segment.folded} document${segment.folded > 1 ? "s" : ""} folded (no needle, and no word with ${percent(LOOKED)} of a head's attention)`;
    const node = make("details", {}, make("summary", {}, count), body);
    let last = [[], 1];
    const fill = () => { if (node.open) body.replaceChildren(...painted(row, segment.from, segment.to, ...last)); };
    node.addEventListener("toggle", fill);
    return { node, paint: (...now) => { last = now; fill(); } };
  }

  function place(row, { start }) {
    const number = row.documents.findIndex((document) => start >= document.start && start < document.end);
    const needle = row.needles.some((one) => start >= one.start && start < one.end);
    if (number < 0) return start < row.documents[0].start ? "before the documents" : start < row.documents.at(-1).end ? "between documents" : "behind the documents";
    return `in document ${number + 1}${needle ? ", a needle" : ""}`;
  }

  function select(title, options) {
    const made = make("select", {}, ...options.map((text, i) => make("option", { value: i }, text)));
    return [make("label", {}, `${title} `, made), made];
  }

  function drawView(row, view) {
    const [answers, answer] = select("While it writes", view.answers.map((one) => one.says));
    const [heads, head] = select("Head", [`all ${view.heads.length}, on average`, ...view.heads]);
    const tokens = make("fieldset", { class: "tokens" }), status = make("p", { role: "status" });
    const parts = segments(row, view).map((segment) => ({ ...segment, ...shown(row, segment) })), name = `token-${groups++}`;
    const there = make("button", { type: "button", onclick: goThere }, "Go to the strongest word");
    let token = 0, now = { spots: [], most: 0 };

    function goThere() {
      const { start } = now.spots.find((spot) => spot.share === now.most);
      const part = parts.find((one) => start >= one.from && start < one.to);
      if (part.folded) { part.node.open = true; part.paint(now.spots, now.most); }
      drawn.querySelector(".strongest")?.scrollIntoView({ block: "center" });
    }

    function paint() {
      const of = view.answers[Number(answer.value)], number = Number(head.value);
      const { needles, spots } = chosen(of, token, number ? number - 1 : null);
      const most = Math.max(0, ...spots.map((spot) => spot.share));
      now = { spots, most };
      there.disabled = !spots.length;
      for (const part of parts) part.paint(spots, most);
      const first = [...spots].sort((a, b) => b.share - a.share).slice(0, LISTED)
        .map((spot) => `“${plain(row.letters.slice(spot.start, spot.end).join(""))}” ${percent(spot.share)} (${place(row, spot)})`);
      const others = spots.filter((spot) => !row.needles.some((one) => spot.start >= one.start && spot.start < one.end)).reduce((sum, spot) => sum + spot.share, 0);
      status.replaceChildren(visible(`While “${plain(of.tokens[token])}” is written, ${percent(needles)} of the attention is on needles, ${percent(others)} on other words that are drawn, and ${percent(Math.max(0, 1 - needles - others))} elsewhere. Most is on: ${first.join(", ") || "no word of the text"}.`));
    }

    function list() {
      const of = view.answers[Number(answer.value)];
      const most = of.tokens.map((_, i) => Math.max(0, ...chosen(of, i, null).spots.map((spot) => spot.share)));
      token = most.indexOf(Math.max(...most));
      tokens.replaceChildren(make("legend", {}, "Token "), ...of.tokens.map((text, i) => {
        const input = make("input", { type: "radio", name, onchange: () => { token = i; paint(); } });
        input.checked = i === token;
        return make("label", {}, input, make("span", {}, visible(plain(text))));
      }));
      paint();
    }

    answer.addEventListener("change", list);
    head.addEventListener("change", paint);
    list();
    const scale = make("p", { class: "scale" }, "Colours: ", ...SCALE.flatMap((share) => { const mark = make("mark", {}, percent(share)); mark.style.setProperty("--share", strength(share)); return [mark, " "]; }));
    const drawn = make("article", { class: "view", "aria-label": view.model }, make("h4", {}, view.model), answers, heads, tokens, status, scale, there, ...parts.map((part) => part.node));
    return drawn;
  }

  for (const script of document.querySelectorAll("script[data-drawn]")) {
    const row = JSON.parse(script.textContent);
    row.letters = Array.from(row.message); // positions count characters as Python does
    script.after(make("div", { class: "views" }, ...row.views.map((view) => drawView(row, view))));
  }
})();
