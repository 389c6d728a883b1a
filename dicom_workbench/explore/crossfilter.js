// The picture of explore.crossfilter. All counting is done in the kernel; here arrive only a few numbers and words.
// Words come from DICOM headers, so they are never parsed as HTML: text goes into the page by textContent and setAttribute.

const SVG = "http://www.w3.org/2000/svg";

function make(tag, cls = "", text = null, attributes = {}) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== null) e.textContent = text;
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
}

function button(text, label, cls, act) {
  const b = make("button", cls, text, { type: "button" });
  if (label) b.setAttribute("aria-label", label);
  b.addEventListener("click", act);
  return b;
}

const grouped = n => n.toLocaleString("en-US");
const share = (k, n) => !n ? "–" : k === n ? "100 %" : k === 0 ? "0 %" : k / n < 0.001 ? "<0.1 %" : k / n > 0.999 ? ">99.9 %" : (100 * k / n).toFixed(1) + " %";
const say = (node, text) => { if (node.textContent !== text) node.textContent = text; };

// One row of a bar chart: a check box that looks like a bar.
class BarRow {
  constructor(act) {
    this.node = button("", "", "dwx-bar", act);
    this.node.setAttribute("role", "checkbox");
    this.label = make("span", "dwx-label");
    this.track = make("span", "dwx-track");
    this.fill = make("span", "dwx-fill");
    this.n = make("span", "dwx-n");
    this.track.append(this.fill);
    this.node.append(this.label, this.track, this.n);
  }
  show(label, n, most, all, chosen, faded, colour, thing) {
    say(this.label, label);
    say(this.n, grouped(n));
    this.fill.style.width = (most ? Math.max(100 * n / most, n ? 0.7 : 0) : 0) + "%";
    this.fill.style.background = colour || "";
    this.node.classList.toggle("dwx-faded", faded && !chosen);
    this.node.setAttribute("aria-checked", chosen ? "true" : "false");
    const text = `${label}: ${grouped(n)} ${thing} (${share(n, all)})`;
    this.node.setAttribute("aria-label", text);
    this.node.title = text;
  }
}

class Chart {
  constructor(app, column, facts) {
    this.app = app; this.column = column; this.facts = facts;
    this.node = make("figure", "dwx-chart", null, { "data-column": column, role: "group" });
    const head = make("figcaption", "dwx-title");
    this.title = make("span", "", facts.title);
    this.unit = make("small", "", facts.note);
    this.clear = button("✕", `Clear the filter of ${facts.title}`, "dwx-clear", () => app.send({ do: "clear", column }));
    this.clear.title = "Clear this filter";
    head.append(this.title, this.unit, this.clear);
    this.body = make("div", "dwx-body");
    this.missing = new BarRow(() => app.send({ do: "toggle", column, code: this.size }));
    this.missing.node.classList.add("dwx-missing");
    this.node.append(head, this.body, this.missing.node);
  }
  get size() { return this.facts.size; }
  show(s) {
    this.state = s;
    this.node.setAttribute("aria-label", s.told);
    this.clear.hidden = !s.filtered;
    this.node.classList.toggle("dwx-active", !!s.filtered);
    this.draw(s);
    this.missing.show("not recorded", s.missing, s.bars ? this.most : s.all, s.all, s.missing_chosen, !!s.filtered, "", this.app.thing);
    say(this.missing.n, `${grouped(s.missing)} (${share(s.missing, s.all)})`);
  }
  draw() {}
}

class Bars extends Chart {
  constructor(app, column, facts) {
    super(app, column, facts);
    this.rows = new Map();
    this.list = make("div", "dwx-bars");
    this.others = button("", "", "dwx-others", () => { this.find.hidden = !this.find.hidden; if (!this.find.hidden) this.find.focus(); else if (this.find.value) { this.find.value = ""; this.ask(); } });
    this.others.title = "Look for a value";
    this.find = make("input", "dwx-find", null, { type: "search", placeholder: "find a value", "aria-label": `Find a value of ${facts.title}`, maxlength: "100" });
    this.find.hidden = true;
    this.find.addEventListener("input", () => this.ask());
    this.body.append(this.find, this.list, this.others);
  }
  ask() { this.app.send({ do: "find", column: this.column, text: this.find.value }, "find" + this.column); }
  draw(s) {
    const focused = [...this.rows].find(([, row]) => row.node === document.activeElement || row.node === this.app.root.getRootNode().activeElement);
    const most = this.most = Math.max(1, ...s.bars.map(b => b[2]), s.missing);
    const seen = new Set();
    s.bars.forEach(([code, label, n, chosen, colour], i) => {
      seen.add(code);
      if (!this.rows.has(code)) this.rows.set(code, new BarRow(() => this.app.send({ do: "toggle", column: this.column, code })));
      const row = this.rows.get(code);
      row.show(label, n, most, s.all, chosen, !!s.filtered, colour, this.app.thing);
      if (this.list.children[i] !== row.node) this.list.insertBefore(row.node, this.list.children[i] || null);
    });
    for (const [code, row] of this.rows) if (!seen.has(code)) { row.node.remove(); this.rows.delete(code); }
    this.others.hidden = !s.others && this.find.hidden;
    say(this.others, s.others ? `${s.others[0]}: ${grouped(s.others[1])}` : "show all again");
    if (focused && this.rows.has(focused[0])) this.rows.get(focused[0]).node.focus({ preventScroll: true });
  }
}

// Bins side by side: a brush by mouse or finger, two handles for the keyboard.
class Bins extends Chart {
  constructor(app, column, facts) {
    super(app, column, facts);
    this.plot = make("div", "dwx-plot");
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${facts.size} 100`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("aria-hidden", "true");
    this.line = facts.kind === "years" && facts.size > 2;
    this.bars = facts.labels.map((label, i) => {
      const r = document.createElementNS(SVG, "rect");
      r.setAttribute("x", i + (this.line ? 0 : 0.05)); r.setAttribute("width", this.line ? 1 : 0.9);
      this.svg.append(r);
      return r;
    });
    if (this.line) {
      this.path = document.createElementNS(SVG, "polyline");
      this.path.setAttribute("class", "dwx-line");
      this.svg.append(this.path);
    }
    this.tip = make("output", "dwx-tip", "", { "aria-hidden": "true" });
    this.most = make("span", "dwx-most");
    this.shade = make("div", "dwx-shade");
    this.handles = [0, 1].map(side => this.handle(side));
    this.plot.append(this.svg, this.most, this.shade, ...this.handles);
    const axis = make("div", "dwx-axis", null, { "aria-hidden": "true" });
    for (const [at, text] of facts.ticks) {
      const t = make("span", "", text);
      t.style.left = 100 * at / facts.size + "%";
      axis.append(t);
    }
    this.body.append(this.plot, axis, this.tip);
    this.range = null;
    this.listen();
  }
  handle(side) {
    const h = make("div", "dwx-handle", null, { role: "slider", tabindex: "0", "aria-valuemin": "0", "aria-valuemax": String(this.size - 1),
      "aria-label": `${this.facts.title}: ${side ? "last" : "first"} of the chosen range` });
    h.addEventListener("keydown", e => {
      const now = this.range || [0, this.size - 1];
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5, Home: -this.size, End: this.size }[e.key];
      if (e.key === "Escape") this.app.send({ do: "clear", column: this.column });
      else if (step === undefined) return;
      else {
        const next = [...now];
        next[side] = Math.min(this.size - 1, Math.max(0, now[side] + step));
        if (next[0] > next[1]) next[1 - side] = next[side];
        this.choose(next);
      }
      e.preventDefault(); e.stopPropagation();
    });
    return h;
  }
  at(e) {
    const box = this.plot.getBoundingClientRect();
    return Math.min(this.size - 1, Math.max(0, Math.floor((e.clientX - box.left) / box.width * this.size)));
  }
  listen() {
    let from = null, before = null, moved = false;
    this.plot.addEventListener("pointerdown", e => {
      if (e.button) return;
      from = this.at(e); before = this.range; moved = false;
      this.plot.setPointerCapture(e.pointerId);
      e.preventDefault();
    });
    this.plot.addEventListener("pointermove", e => {
      const i = this.at(e);
      say(this.tip, `${this.facts.labels[i]}${this.facts.suffix}: ${grouped(this.state ? this.state.n[i] : 0)}`);
      if (from === null) return;
      if (i !== from) moved = true;
      if (moved) this.choose([Math.min(from, i), Math.max(from, i)]);
    });
    this.plot.addEventListener("pointerup", e => {
      if (from === null) return;
      const i = this.at(e);
      if (!moved && before && before[0] === i && before[1] === i) this.app.send({ do: "clear", column: this.column });
      else this.choose([Math.min(from, i), Math.max(from, i)]);
      from = null;
    });
    this.plot.addEventListener("pointercancel", () => { from = null; });
    this.plot.addEventListener("pointerleave", () => { say(this.tip, ""); });
  }
  choose(range) {
    if (this.range && range[0] === this.range[0] && range[1] === this.range[1]) return;
    this.range = range;
    this.mark();
    this.app.send({ do: "brush", column: this.column, first: range[0], last: range[1] }, "brush" + this.column);
  }
  mark() {
    const [a, b] = this.range || [0, this.size - 1];
    this.shade.hidden = !this.range;
    this.shade.style.left = 100 * a / this.size + "%";
    this.shade.style.width = 100 * (b - a + 1) / this.size + "%";
    this.handles.forEach((h, side) => {
      const i = side ? b : a;
      h.style.left = 100 * (side ? b + 1 : a) / this.size + "%";
      h.setAttribute("aria-valuenow", String(i));
      h.setAttribute("aria-valuetext", this.facts.labels[i] + this.facts.suffix);
    });
    this.bars.forEach((r, i) => r.classList.toggle("dwx-out", !!this.range && (i < a || i > b)));
  }
  draw(s) {
    if (!this.app.waiting("brush" + this.column)) this.range = s.range;
    const most = Math.max(1, ...s.n);
    this.bars.forEach((r, i) => {
      const h = s.n[i] ? Math.max(100 * s.n[i] / most, 0.8) : 0;
      r.setAttribute("y", 100 - h); r.setAttribute("height", h);
    });
    if (this.line) this.path.setAttribute("points", s.n.map((n, i) => `${i},${100 - 100 * n / most} ${i + 1},${100 - 100 * n / most}`).join(" "));
    say(this.most, grouped(Math.max(0, ...s.n)));
    this.mark();
  }
}

class Words extends Chart {
  draw() { if (!this.body.firstChild) this.body.append(make("p", "dwx-words", this.facts.words)); }
}

class App {
  constructor(model, el) {
    this.model = model;
    this.seq = 0; this.flying = null; this.queue = []; this.charts = new Map();
    this.root = make("section", "dw-crossfilter", null, { "data-ready": "no", "data-lm-suppress-shortcuts": "true" });
    this.build();
    el.append(this.root);
    this.heard = [["change:setup", () => this.lay()], ["change:state", () => this.show()], ["msg:custom", (m, b) => this.file(m, b)]];
    for (const [what, act] of this.heard) model.on(what, act);
    this.lay();
    this.show();
  }
  end() { for (const [what, act] of this.heard) this.model.off(what, act); }

  // One message is under way at a time; of several brushes of one chart only the last waits.
  send(message, slot = "") {
    if (slot) this.queue = this.queue.filter(q => q.slot !== slot);
    this.queue.push({ slot, message });
    this.flush();
  }
  flush() {
    if (this.flying || !this.queue.length) return;
    this.flying = this.queue.shift();
    this.root.setAttribute("aria-busy", "true");
    this.model.send({ ...this.flying.message, seq: ++this.seq });
  }
  waiting(slot) { return this.queue.some(q => q.slot === slot); }

  build() {
    const head = make("header", "dwx-head");
    this.title = make("h3", "dwx-name");
    this.count = make("p", "dwx-count", "", { role: "status", "aria-live": "polite" });
    this.undo = button("Undo", "Undo the last change of the filters", "", () => this.send({ do: "undo" }));
    this.reset = button("Reset", "Remove every filter", "", () => this.send({ do: "reset" }));
    this.choose = button("Columns", "Choose columns for charts and the table", "", () => { this.panel.hidden = !this.panel.hidden; this.choose.setAttribute("aria-expanded", String(!this.panel.hidden)); if (!this.panel.hidden) this.look.focus(); });
    this.choose.setAttribute("aria-expanded", "false");
    this.codes = button("Code", "Show the filters as polars code", "", () => { this.code.hidden = !this.code.hidden; this.codes.setAttribute("aria-expanded", String(!this.code.hidden)); });
    this.codes.setAttribute("aria-expanded", "false");
    this.reveal = button("Show identifiers", "Show identifiers; this is logged", "", () => this.send({ do: "identify" }));
    const saves = [["csv", "CSV"], ["parquet", "Parquet"], ["cohort", "Cohort"]].map(([kind, text]) =>
      button(text, `Save the selected rows as ${text}`, "dwx-save", () => this.send({ do: "save", kind })));
    const tools = make("div", "dwx-tools", null, { role: "toolbar", "aria-label": "Filters and export" });
    tools.append(this.undo, this.reset, this.choose, this.codes, ...saves, this.reveal);
    this.chips = make("ul", "dwx-chips", null, { "aria-label": "Active filters" });
    this.note = make("p", "dwx-note", "", { role: "alert" });
    head.append(this.title, this.count, tools, this.chips, this.note);
    this.code = make("pre", "dwx-code", "", { tabindex: "0", "aria-label": "The filters as polars code" });
    this.code.hidden = true;
    this.panel = make("div", "dwx-panel");
    this.panel.hidden = true;
    this.look = make("input", "dwx-find", null, { type: "search", placeholder: "find a column", "aria-label": "Find a column" });
    this.look.addEventListener("input", () => this.list());
    this.found = make("div", "dwx-columns");
    this.panel.append(this.look, this.found);
    this.grid = make("div", "dwx-charts");
    this.scroll = make("div", "dwx-scroll");
    this.scroll.append(this.grid, this.rows());
    this.root.append(head, this.panel, this.code, this.scroll);
    this.root.addEventListener("keydown", e => {
      if ((e.ctrlKey || e.metaKey) && e.key === "z" && e.target.tagName !== "INPUT") { this.send({ do: "undo" }); e.preventDefault(); }
      e.stopPropagation();  // JupyterLab has shortcuts of one letter
    });
  }
  rows() {
    const part = make("section", "dwx-table", null, { "aria-label": "The selected rows" });
    const bar = make("form", "dwx-search");
    this.where = make("select", "", null, { "aria-label": "Column to search in" });
    this.what = make("input", "dwx-find", null, { type: "search", placeholder: "search in this column", "aria-label": "Text to search for", maxlength: "200" });
    bar.append(this.where, this.what, make("button", "", "Search", { type: "submit" }));
    bar.addEventListener("submit", e => { e.preventDefault(); this.send({ do: "search", column: this.where.value, text: this.what.value }); });
    this.back = button("‹", "Previous page", "", () => this.send({ do: "page", start: Math.max(0, this.state.table.start - this.state.table.step) }));
    this.next = button("›", "Next page", "", () => this.send({ do: "page", start: this.state.table.start + this.state.table.step }));
    this.place = make("span", "dwx-place");
    const pager = make("div", "dwx-pager");
    pager.append(this.back, this.place, this.next);
    const top = make("div", "dwx-tabletop");
    top.append(bar, pager);
    const wide = make("div", "dwx-wide", null, { tabindex: "0", role: "region", "aria-label": "Table, scrolls sideways" });
    this.table = make("table");
    this.thead = make("thead"); this.tbody = make("tbody");
    this.table.append(make("caption", "dwx-hidden", "The selected rows"), this.thead, this.tbody);
    wide.append(this.table);
    part.append(top, wide);
    return part;
  }

  lay() {  // what changes seldom: which charts there are
    const setup = this.model.get("setup");
    if (!setup.charts) return;
    this.setup = setup; this.thing = setup.thing;
    say(this.title, setup.title);
    this.root.setAttribute("aria-label", setup.title);
    this.root.style.setProperty("--dwx-height", setup.height ? setup.height + "px" : "none");
    const kept = new Set();
    for (const facts of setup.charts) {
      kept.add(facts.column);
      const had = this.charts.get(facts.column);
      if (had && had.facts.kind === facts.kind && had.facts.size === facts.size) continue;
      if (had) had.node.remove();
      const Kind = { bars: Bars, histogram: Bins, years: Bins, hours: Bins }[facts.kind] || Words;
      this.charts.set(facts.column, new Kind(this, facts.column, facts));
    }
    for (const [column, chart] of this.charts) if (!kept.has(column)) { chart.node.remove(); this.charts.delete(column); }
    setup.charts.forEach((facts, i) => {
      const node = this.charts.get(facts.column).node;
      if (this.grid.children[i] !== node) this.grid.insertBefore(node, this.grid.children[i] || null);
    });
    this.where.replaceChildren(...setup.texts.map(([column, title]) => make("option", "", title, { value: column })));
    this.list();
  }
  list() {  // the columns whose name has the text in it
    const want = this.look.value.trim().toLowerCase(), charts = new Set(this.setup.charts.map(c => c.column)), table = new Set(this.setup.table);
    const fits = this.setup.columns.filter(([column, title]) => (column + " " + title).toLowerCase().includes(want));
    this.found.replaceChildren(...fits.slice(0, 60).map(([column, title, masked]) => {
      const row = make("div", "dwx-column");
      row.append(make("span", "", title === column ? column : `${title} (${column})`));
      for (const [kind, has] of [["chart", charts.has(column)], ["table", table.has(column)]]) {
        const label = make("label"), box = make("input", "", null, { type: "checkbox" });
        box.checked = has;
        box.disabled = kind === "chart" && masked && this.state && this.state.mask;
        box.addEventListener("change", () => this.send({ do: "column", kind, column, on: box.checked }));
        label.append(box, kind);
        row.append(label);
      }
      return row;
    }));
    if (fits.length > 60) this.found.append(make("p", "dwx-words", `and ${fits.length - 60} more: type a part of the name`));
    if (!fits.length) this.found.append(make("p", "dwx-words", "no such column"));
  }

  show() {
    const s = this.model.get("state");
    if (!s.charts) return;
    this.state = s;
    if (this.flying && s.answers >= this.seq) this.flying = null;
    say(this.count, s.words);
    this.undo.disabled = !s.undo; this.reset.disabled = !s.chips.length;
    this.reveal.hidden = !s.mask;
    this.chips.replaceChildren(...s.chips.map((words, i) => {
      const li = make("li");
      li.append(button(words + " ✕", `Remove the filter ${words}`, "dwx-chip", () => this.send({ do: "drop", index: i })));
      return li;
    }));
    say(this.note, s.note);
    say(this.code, s.code);
    for (const c of s.charts) { const chart = this.charts.get(c.column); if (chart) chart.show(c); }
    this.tabulate(s.table);
    if (this.flying) return;
    this.flush();
    if (!this.flying) { this.root.setAttribute("aria-busy", "false"); this.root.dataset.answers = String(s.answers); }
    this.root.dataset.ready = "yes";
  }
  tabulate(t) {
    const focused = this.root.getRootNode().activeElement, sorted = focused && focused.dataset ? focused.dataset.sort : null;
    const head = make("tr");
    for (const [column, title, sortable, number] of t.columns) {
      const th = make("th", number ? "dwx-right" : "", null, { scope: "col", "aria-sort": t.sort === column ? (t.descending ? "descending" : "ascending") : "none" });
      if (sortable) {
        const b = button(title + (t.sort === column ? (t.descending ? " ▼" : " ▲") : ""), `Sort by ${title}`, "dwx-sort", () => this.send({ do: "sort", column }));
        b.dataset.sort = column;
        th.append(b);
      } else th.append(make("span", "", title));
      head.append(th);
    }
    this.thead.replaceChildren(head);
    this.tbody.replaceChildren(...t.rows.map(cells => {
      const tr = make("tr");
      cells.forEach((cell, i) => tr.append(make("td", (t.columns[i][3] ? "dwx-right" : "") + (cell === null ? " dwx-null" : ""), cell === null ? "–" : cell)));
      return tr;
    }));
    if (!t.rows.length) {
      const tr = make("tr");
      tr.append(make("td", "dwx-null", "No rows.", { colspan: String(Math.max(1, t.columns.length)) }));
      this.tbody.append(tr);
    }
    say(this.place, t.rows.length ? `${grouped(t.start + 1)}–${grouped(t.start + t.rows.length)} of ${grouped(this.state.n)}` : "0 of 0");
    this.back.disabled = t.start <= 0;
    this.next.disabled = t.start + t.rows.length >= this.state.n;
    if (sorted) for (const b of this.thead.querySelectorAll("button")) if (b.dataset.sort === sorted) b.focus({ preventScroll: true });
  }
  file(message, buffers) {  // a file for the browser to keep
    if (!message || !message.file || !buffers || !buffers.length) return;
    const url = URL.createObjectURL(new Blob([buffers[0]], { type: "application/octet-stream" }));
    const a = make("a", "", null, { href: url, download: message.file });
    this.root.append(a); a.click(); a.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }
}

export default {
  render({ model, el }) {
    const app = new App(model, el);
    return () => app.end();
  },
};
