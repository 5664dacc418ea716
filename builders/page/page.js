"use strict";
// The page of a data set. Everything that comes from the data is put into the page as text, never as HTML.
(() => {
  const { make, visible } = globalThis.dom;
  const CLASSES = ["", "needle", "answer"];
  const BINS = 10, LISTED = 200, WAIT = 50, HIGH = 0.8, START = 160;
  const at = (id) => document.getElementById(id);
  const state = { about: null, rows: [], byIndex: [], shown: [], index: 0, needle: -1, marks: [], bins: {}, filters: {}, parsed: false, turn: 0 };

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  // The value of a packed script; null if the page has none. The browser may not have read it yet.
  async function packed(id) {
    while (!at(id) && !state.parsed) await new Promise((done) => setTimeout(done, WAIT));
    return at(id) ? unpack(at(id).textContent) : null;
  }

  function piece([kind, text]) {
    return kind ? make("mark", { class: CLASSES[kind] }, visible(text)) : visible(text);
  }

  // The pieces of a text. Those of a needle, with its answer, stand in one span, which is jumped to.
  function written(text) {
    const found = [];
    for (const part of text) {
      const last = found.at(-1);
      if (part[0] && last?.className === "spot") last.append(piece(part));
      else found.push(part[0] ? make("span", { class: "spot", tabindex: "-1" }, piece(part)) : piece(part));
    }
    return found;
  }

  const share = (number) => `${Math.round(100 * number)}\u00a0%`;
  const count = (number) => number.toLocaleString("en");

  function showVariants() {
    const names = ["variant", "rows", "tokens, at most", "faults", "best rule that ignores the question", "best rule that only compares words"];
    const head = make("tr", {}, ...names.map((name, i) => make("th", { scope: "col", class: i > 0 && i < 4 ? "number" : null }, name)));
    const body = state.about.variants.map((one, number) => {
      const faults = one.checked ? one.faults.reduce((sum, fault) => sum + fault.count, 0) : "not checked";
      return make("tr", {}, make("th", { scope: "row" }, one.name, make("small", {}, one.says)), make("td", { class: "number" }, rowsOf(one, number)),
        make("td", { class: "number" }, one.built.max_tokens ? count(one.built.max_tokens) : ""), make("td", { class: "number" }, String(faults)),
        bestRule(one, false), bestRule(one, true));
    });
    for (const row of body) label(row, names);
    at("variants").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
    at("details").replaceChildren(...state.about.variants.filter((one) => one.checked).map(showChecked));
  }

  // Names the column in each cell but the first, for phones, where cells stand one below the other.
  function label(row, names) {
    [...row.children].slice(1).forEach((cell, i) => cell.setAttribute("data-label", names[i + 1]));
  }

  // The number of rows that are shown, and of how many.
  function rowsOf(one, number) {
    const shown = state.rows[number].length;
    return one.rows > shown ? `${count(shown)} of ${count(one.rows)}` : count(shown);
  }

  // The rule that is farthest above chance, of those that read the question badly or never.
  function bestRule(one, reads) {
    const rules = (one.floors || []).filter((floor) => floor.reads_the_question === reads);
    if (!rules.length) return make("td", {}, one.checked ? "none" : "not checked");
    const best = rules.reduce((a, b) => (b.score - b.chance > a.score - a.chance ? b : a));
    const high = best.score - best.chance > HIGH;
    return make("td", high ? { class: "high" } : {}, `${best.rule}: ${share(best.score)}, chance ${share(best.chance)}${high ? "; it solves this variant" : ""}`, make("small", {}, best.says));
  }

  function showChecked(one) {
    const faults = one.faults.map((fault) => make("li", {}, `${fault.kind} (${fault.count}): `, visible(fault.first.join("; "))));
    const rows = one.floors.map((floor) => make("tr", {}, make("td", {}, floor.rule, make("small", {}, floor.says)), make("td", {}, floor.reads_the_question ? "compares words" : "no"),
      make("td", { class: "number" }, share(floor.score)), make("td", { class: "number" }, share(floor.chance)), make("td", { class: "number" }, count(floor.rows))));
    const names = ["rule", "reads the question", "score", "chance", "rows"];
    const head = names.map((name) => make("th", { scope: "col" }, name));
    for (const row of rows) label(row, names);
    return make("details", {}, make("summary", {}, `${one.name}: what was checked, and how far each rule gets`),
      faults.length ? make("ul", {}, ...faults) : make("p", {}, "No faults: synthctx check looks for answers outside needles, needles and documents that come twice, wrong spans and depths, and more."),
      make("p", {}, "Rules were tried on the first examples of the data set, whichever are shown on this page. Some name documents, others an answer; chance is that of a random document or answer."),
      make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `Floors of ${one.name}` },
        make("table", { class: "stacked" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))));
  }

  // Filters look at the variant that is chosen below, whose rows the list shows.
  const chosen = () => state.rows[Number(at("variant").value) || 0];
  const RANGES = {
    depth: { title: "depth of the needles", of: (row) => row.depths, ends: () => [0, 1], says: (x) => x.toFixed(1) },
    tokens: { title: "tokens", of: (row) => [row.tokens], ends: (rows) => ends(rows.map((row) => row.tokens)), says: (x) => count(Math.round(x)) },
  };
  const ends = (values) => [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];

  function binOf(name, value) {
    const [low, high] = state.bins[name].ends;
    return high > low ? Math.min(BINS - 1, Math.floor(((value - low) / (high - low)) * BINS)) : 0;
  }

  function showCharts() {
    at("charts").replaceChildren(...Object.entries(RANGES).map(([name, range]) => {
      const rows = chosen(), bounds = range.ends(rows);
      state.bins[name] = { ends: bounds };
      const counts = Array(BINS).fill(0);
      rows.forEach((row) => range.of(row).forEach((value) => counts[binOf(name, value)]++));
      const most = Math.max(1, ...counts), step = (bounds[1] - bounds[0]) / BINS;
      const bars = counts.map((number, bin) => {
        const from = range.says(bounds[0] + bin * step), to = range.says(bounds[0] + (bin + 1) * step);
        const bar = make("span", {});
        bar.style.height = `${(100 * number) / most}%`;
        return make("button", { type: "button", "aria-pressed": String(state.filters[name] === bin), title: `${from} to ${to}: ${number}`,
          "aria-label": `${range.title} ${from} to ${to}: ${number}`, onclick: () => {
            state.filters[name] = state.filters[name] === bin ? undefined : bin;
            filter();
          } }, bar);
      });
      const scale = make("div", { class: "scale" }, make("span", {}, range.says(bounds[0])), make("span", {}, range.says(bounds[1])));
      return make("figure", { "data-chart": name }, make("figcaption", {}, `${range.title} (a bar selects)`), make("div", { class: "chart" }, ...bars), scale);
    }));
  }

  function fillChoices() {
    const rows = state.rows.flat();
    const fill = (id, values) => at(id).append(...[...new Set(values)].sort((a, b) => (a > b ? 1 : -1)).map((value) => make("option", { value }, String(value))));
    fill("hops", rows.map((row) => row.hops));
    fill("writer", rows.map((row) => row.writer).filter(Boolean));
    for (const id of ["variant", "beside"]) {
      at(id).append(...state.about.variants.map((one, number) => make("option", { value: number }, one.name)));
    }
    for (const id of ["hops", "writer"]) at(id).parentNode.hidden = at(id).options.length < 3; // there is nothing to choose
    at("beside").parentNode.hidden = state.about.variants.length < 2;
  }

  function filter() {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const { hops, writer } = { hops: at("hops").value, writer: at("writer").value };
    state.shown = chosen().filter((row) =>
      (!hops || row.hops === Number(hops)) && (!writer || row.writer === writer)
      && Object.entries(RANGES).every(([name, range]) => state.filters[name] === undefined || range.of(row).some((value) => binOf(name, value) === state.filters[name]))
      && words.every((word) => textOf(row).includes(word)));
    document.querySelectorAll("#charts button").forEach((bar) => {
      const name = bar.closest("[data-chart]").dataset.chart, bin = [...bar.parentNode.children].indexOf(bar);
      bar.setAttribute("aria-pressed", String(state.filters[name] === bin));
    });
    markCurrent();
  }

  // The list shows a page of the examples that pass the filters: the one with the example that is shown.
  function markCurrent() {
    const here = state.shown.findIndex((row) => row.index === state.index);
    const first = Math.floor(Math.max(here, 0) / LISTED) * LISTED, shown = state.shown.slice(first, first + LISTED);
    const part = state.shown.length > LISTED ? `; the list has ${first + 1} to ${first + shown.length} of these` : "";
    const missing = here < 0 ? `; example ${state.index}, which is shown below, is not among them` : "";
    at("matches").textContent = `${count(state.shown.length)} of ${count(chosen().length)} examples of ${state.about.variants[Number(at("variant").value) || 0].name}${part}${missing}`;
    at("list").replaceChildren(...shown.map((row) => make("li", {},
      make("button", { type: "button", "data-index": row.index, "aria-current": String(row.index === state.index), onclick: () => go(row.index) }, `${row.index}  `, visible(row.question)))));
    const current = at("list").children[here - first];
    if (current) at("list").scrollTop = current.offsetTop - at("list").offsetTop - at("list").clientHeight / 2;
  }

  function textOf(row) {
    row.searched ??= [row.question, row.answer, ...row.needles.flatMap((needle) => needle.text.map((one) => one[1]))].join("\n").toLowerCase();
    return row.searched;
  }

  async function go(index) {
    const known = state.byIndex.some((rows) => rows.has(index));
    at("told").textContent = known ? "" : `There is no example ${at("number").value} on this page.`;
    if (!known) {
      at("number").value = state.index;
      return;
    }
    state.index = index;
    state.needle = -1;
    at("number").value = index;
    at("example-title").textContent = `Example ${index}`;
    at("pair").replaceChildren(...state.about.variants.map((one, number) => card(one, number, state.byIndex[number].get(index))));
    markCurrent();
    remember();
    await showContexts();
  }

  // The address names example and variant, so that a reload, or whom it is sent to, shows the same.
  const remember = () => history.replaceState(null, "", `#${state.index}:${state.about.variants[Number(at("variant").value)].name}`);

  function recall() {
    const [index, name] = decodeURIComponent(location.hash.slice(1)).split(":");
    const number = state.about.variants.findIndex((one) => one.name === name);
    if (number >= 0) { at("variant").value = number; choose(); }
    const wanted = index === "" ? NaN : Number(index);
    return state.byIndex.some((rows) => rows.has(wanted)) ? wanted : state.shown[0]?.index;
  }

  function card(one, number, row) {
    if (!row) return make("article", { class: "card" }, make("h3", {}, one.name), make("p", { class: "faint" }, "No such example."));
    const needles = row.needles.map((needle) => [make("dt", {}, `needle${row.hops > 1 ? ` of hop ${needle.hop + 1}` : ""}, document ${needle.document} of ${row.documents}`),
      make("dd", {}, ...needle.text.map(piece))]).flat();
    const damaged = row.damaged ? [make("p", { class: "high" }, "damaged: ", visible(row.damaged))] : [];
    return make("article", { class: "card" }, make("h3", {}, one.name), ...damaged,
      make("dl", {}, make("dt", {}, "question"), make("dd", {}, visible(row.question)), ...needles,
        make("dt", {}, "answer"), make("dd", {}, visible(row.answer))),
      make("p", { class: "faint" }, `${count(row.tokens)} tokens; depth ${row.depths.map((depth) => depth.toFixed(2)).join(", ") || "none"}${row.writer ? `; written by ${row.writer}` : ""}`),
      make("button", { type: "button", onclick: async () => { at("variant").value = number; await changed(); jump(); } }, `Show in context`));
  }

  async function showContexts() {
    const turn = ++state.turn;
    const numbers = [at("variant").value, at("beside").value].filter((value, i) => value !== "" && (i === 0 || value !== at("variant").value)).map(Number);
    const made = await Promise.all(numbers.map(async (number) => {
      const text = await packed(`row-${number}-${state.index}`);
      return make("article", { class: "context", "aria-label": state.about.variants[number].name }, make("h3", {}, state.about.variants[number].name),
        ...(text ? context(text) : [make("p", {}, "No such example.")]));
    }));
    if (turn !== state.turn) return; // another example was chosen meanwhile
    at("contexts").replaceChildren(...made);
    at("contexts").dataset.index = state.index;
    state.marks = [...at("contexts").querySelectorAll(".spot")];
    unfold();
  }

  function context(text) {
    const documents = text.documents.map((one, number) => {
      const body = make("div", { class: "text" });
      const start = one.text.map((part) => part[1]).join("").slice(0, START).replace(/\n+/g, " · ");
      const fold = make("details", { class: `document ${one.kind}` },
        make("summary", {}, `${one.above.trim() || number + 1} `, make("span", { class: "start" }, visible(start))), body);
      // A document is put into the page when it is unfolded, so that long contexts open at once.
      fold.addEventListener("toggle", () => { if (fold.open && !body.firstChild) body.append(...written(one.text)); });
      if (one.kind === "needle") { body.append(...written(one.text)); fold.open = true; }
      return fold;
    });
    return [make("div", { class: "text" }, visible(text.before)), ...documents, make("div", { class: "text" }, visible(text.after)),
      make("p", {}, "Right answer: ", make("strong", {}, visible(text.answer)))];
  }

  function unfold() {
    const all = at("unfold").getAttribute("aria-pressed") === "true";
    at("unfold").textContent = all ? "Fold all" : "Unfold all";
    at("contexts").querySelectorAll("details.document").forEach((one) => { one.open = all || one.classList.contains("needle"); });
    state.marks[state.needle]?.scrollIntoView({ block: "center" });
  }

  function jump() {
    if (!state.marks.length) return;
    state.needle = (state.needle + 1) % state.marks.length;
    const mark = state.marks[state.needle];
    state.marks.forEach((one) => one.classList.toggle("found", one === mark));
    mark.closest("details").open = true;
    mark.scrollIntoView({ block: "center" });
    mark.focus({ preventScroll: true });
  }

  async function step(by) {
    const order = state.shown.map((row) => row.index), here = order.indexOf(state.index), jumped = state.needle >= 0;
    if (!order.length) return;
    await go(order[here < 0 ? 0 : (here + by + order.length) % order.length]);
    if (jumped) jump(); // whoever reads a needle in its context wants the next example's
  }

  async function goTo(number) {
    await go(number);
    at("example").scrollIntoView({ block: "start" });
  }

  // Shows charts and list of the variant that is chosen.
  function choose() {
    state.filters = {}; // the bars of another variant mean other numbers
    for (const option of at("beside").options) option.disabled = option.value === at("variant").value;
    if (at("beside").value === at("variant").value) at("beside").value = "";
    showCharts();
    filter();
  }

  async function changed() {
    const jumped = state.needle >= 0;
    choose();
    remember();
    state.needle = -1;
    await showContexts();
    if (jumped) jump();
  }

  const KEYS = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), n: jump,
    v: () => { at("variant").value = (Number(at("variant").value) + 1) % state.about.variants.length; changed().then(() => { if (state.needle < 0) at("contexts").parentNode.scrollIntoView({ block: "start" }); }); },
    u: () => at("unfold").click(), "/": () => at("search").focus(), g: () => at("number").select(),
  };

  function listen() {
    at("filters").addEventListener("input", filter);
    at("filters").addEventListener("submit", (event) => event.preventDefault());
    at("filters").addEventListener("reset", () => setTimeout(() => { state.filters = {}; filter(); }));
    at("previous").addEventListener("click", () => step(-1));
    at("next").addEventListener("click", () => step(1));
    at("number").addEventListener("change", () => goTo(at("number").value === "" ? NaN : Number(at("number").value)));
    at("number").addEventListener("keydown", (event) => { if (event.key === "Enter") at("number").blur(); });
    at("variant").addEventListener("change", changed);
    at("beside").addEventListener("change", showContexts);
    at("needle").addEventListener("click", jump);
    at("unfold").addEventListener("click", () => {
      at("unfold").setAttribute("aria-pressed", String(at("unfold").getAttribute("aria-pressed") !== "true"));
      unfold();
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, select, textarea");
      if (typing && event.key === "Escape") {
        if (typing === at("search")) { typing.value = ""; filter(); }
        typing.blur();
      }
      if (typing || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
      event.preventDefault();
      KEYS[event.key]();
    });
  }

  async function begin() {
    state.about = await packed("about");
    at("subtitle").textContent = `${state.about.split} split; made by synthctx ${state.about.version}`;
    for (const number of state.about.variants.keys()) state.rows.push((await packed(`rows-${number}`)) || []);
    state.byIndex = state.rows.map((rows) => new Map(rows.map((row) => [row.index, row])));
    fillChoices();
    showVariants();
    choose();
    listen();
    const first = recall();
    if (first !== undefined) await go(first);
    document.body.dataset.ready = "true";
  }

  globalThis.synthctx = { loaded: () => { state.parsed = true; } };
  begin();
})();
