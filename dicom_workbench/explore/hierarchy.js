// The picture of explore.hierarchy: a tree on the left, what is in the chosen node on the right.

const TABS = [["elements", "Elements"], ["differences", "Differences"]];

class Hierarchy extends Page {
  constructor(model, el) {
    super(model, el, "dw-hierarchy", { setup: Hierarchy.prototype.lay, tree: Hierarchy.prototype.grow, detail: Hierarchy.prototype.tell, picture: Hierarchy.prototype.paint, answers: Hierarchy.prototype.answered });
    this.head(); this.left(); this.right();
    const body = make("div", "dwb-body");
    body.append(this.leftPart, this.rightPart);
    this.root.append(this.top, body);
    this.lay(); this.grow(); this.paint(); this.tell(); this.answered();
    this.root.dataset.ready = "yes";
  }
  head() {
    this.top = make("header", "dwb-head");
    this.title = make("h3", "dwb-name");
    this.count = make("p", "dwb-count", "", { role: "status", "aria-live": "polite" });
    const form = make("form", "dwb-tools");
    this.find = make("input", "dwb-input", null, { type: "search", placeholder: "find patients: ID, modality, description …", "aria-label": "Find patients in whose rows this occurs", maxlength: "200" });
    this.sort = make("select", "dwb-input", null, { "aria-label": "Order of the patients" });
    this.sort.addEventListener("change", () => this.send({ do: "sort", by: this.sort.value }));
    form.append(this.find, make("button", "", "Find", { type: "submit" }), this.sort);
    form.addEventListener("submit", e => { e.preventDefault(); this.send({ do: "find", text: this.find.value }); });
    this.find.addEventListener("search", () => { if (!this.find.value) this.send({ do: "find", text: "" }); });
    this.reveal = button("Show identifiers", "Show names and numbers of persons; this is logged", "dwb-reveal", () => this.send({ do: "identifiers" }));
    form.append(this.reveal);
    this.note = make("p", "dwb-note", "", { role: "alert" });
    this.top.append(this.title, this.count, form, this.note);
  }
  lay() {
    const s = this.model.get("setup");
    say(this.title, s.title || "");
    this.root.setAttribute("aria-label", s.title || "");
    options(this.sort, s.sorts || [], s.sort || "");
    this.reveal.hidden = !s.mask;
    this.root.style.setProperty("--dwb-height", s.height ? s.height + "px" : "none");
  }

  // The tree ----------------------------------------------------------------------------------------------------------
  left() {
    this.leftPart = make("div", "dwb-left");
    this.treeNode = make("div", "dwb-tree", null, { role: "tree", "aria-label": "Patients, studies, series, instances" });
    this.treeNode.addEventListener("keydown", e => this.key(e));
    this.leftPart.append(this.treeNode);
  }
  grow() {
    const t = this.model.get("tree");
    if (!t.rows) return;
    say(this.count, t.words); say(this.note, t.note || "");
    const active = this.root.getRootNode().activeElement, focused = active && this.treeNode.contains(active) ? active.dataset.id : null;
    const rows = t.rows.map(r => r.pager ? this.pager(r) : r.note ? this.remark(r) : this.row(r));
    this.treeNode.replaceChildren(...rows);
    const items = this.items();
    const chosen = items.find(i => i.getAttribute("aria-selected") === "true") || items[0];
    if (chosen) chosen.tabIndex = 0;
    if (focused) { const again = items.find(i => i.dataset.id === focused) || chosen; if (again) this.focus(again); }
    if (!rows.length) this.treeNode.append(make("p", "dwb-words", "No patient fits."));
  }
  row(r) {
    const item = make("div", "dwb-item dwb-" + r.level, null, { role: "treeitem", "aria-level": String(r.depth + 1), "aria-selected": String(!!r.selected), tabindex: "-1" });
    item.dataset.id = r.id; item.dataset.level = r.level;
    if (r.opens) item.setAttribute("aria-expanded", String(!!r.open));
    item.style.paddingLeft = 6 + 16 * r.depth + "px";
    const arrow = make("span", "dwb-arrow", r.opens ? (r.open ? "▾" : "▸") : "", { "aria-hidden": "true" });
    const text = make("span", "dwb-text"), line = make("span", "dwb-line");
    line.append(make("span", "dwb-kind", { patient: "Patient", study: "Study", series: "Series", instance: "" }[r.level]), make("span", "dwb-title", r.title));
    text.append(line, make("span", "dwb-facts", r.facts));
    const marks = make("span", "dwb-marks");
    if (r.conflicts) marks.append(make("span", "dwb-conflict", "≠ " + r.conflicts, { title: r.disagree, "aria-label": r.disagree }));
    if (r.score !== null && r.score !== undefined) marks.append(make("span", "dwb-score", r.score.toFixed(1), { title: `Quality score ${r.score.toFixed(1)} of 100`, "aria-label": `quality score ${r.score.toFixed(1)} of 100` }));
    item.append(arrow, text, marks);
    if (r.colour) { const dot = make("span", "dwb-dot", null, { "aria-hidden": "true" }); dot.style.background = r.colour; line.prepend(dot); }
    arrow.addEventListener("click", e => { if (r.opens) { e.stopPropagation(); this.send({ do: r.open ? "close" : "open", id: r.id }); } });
    item.addEventListener("click", () => { item.focus(); this.send({ do: "select", id: r.id, open: !!r.opens }); });
    return item;
  }
  pager(r) {
    const p = new Pager(start => this.send({ do: "page", id: r.id, start }));
    p.show(r.start, r.shown, r.total, r.step);
    p.node.style.paddingLeft = 22 + 16 * r.depth + "px";
    p.place.textContent += " " + r.thing;
    return p.node;
  }
  remark(r) {
    const n = make("p", "dwb-words", r.note);
    n.style.paddingLeft = 22 + 16 * r.depth + "px";
    return n;
  }
  items() { return [...this.treeNode.querySelectorAll("[role=treeitem]")]; }
  focus(item) {
    for (const i of this.items()) i.tabIndex = -1;
    item.tabIndex = 0;
    item.focus();
  }
  key(e) {
    const items = this.items(), at = items.indexOf(e.target);
    if (at < 0 || e.altKey || e.ctrlKey || e.metaKey) return;
    const item = items[at], id = Number(item.dataset.id), open = item.getAttribute("aria-expanded"), level = item.getAttribute("aria-level");
    const go = to => { if (to) this.focus(to); };
    if (e.key === "ArrowDown") go(items[at + 1]);
    else if (e.key === "ArrowUp") go(items[at - 1]);
    else if (e.key === "Home") go(items[0]);
    else if (e.key === "End") go(items[items.length - 1]);
    else if (e.key === "ArrowRight") { if (open === "false") this.send({ do: "open", id }); else if (open === "true") go(items[at + 1]); }
    else if (e.key === "ArrowLeft") { if (open === "true") this.send({ do: "close", id }); else go(items.slice(0, at).reverse().find(i => i.getAttribute("aria-level") < level)); }
    else if (e.key === "Enter" || e.key === " ") this.send({ do: "select", id, open: open !== null });
    else return;
    e.preventDefault(); e.stopPropagation();
  }

  // What is in a node -------------------------------------------------------------------------------------------------
  right() {
    this.rightPart = make("div", "dwb-right", null, { role: "region", "aria-label": "What is in it", tabindex: "0" });
    this.crumbs = make("p", "dwb-crumbs");
    this.name = make("h4", "dwb-what");
    this.facts = make("p", "dwb-words");
    this.disagree = make("p", "dwb-disagree");
    const pair = make("div", "dwb-pair");
    this.figure = make("figure", "dwb-figure");
    this.image = make("img", "dwb-image");
    this.caption = make("p", "dwb-words");
    this.window = make("select", "dwb-input", null, { "aria-label": "Window" });
    this.window.addEventListener("change", () => this.send({ do: "window", name: this.window.value }));
    this.slider = make("input", "dwb-slider", null, { type: "range", min: "0", step: "1" });
    this.slider.addEventListener("change", () => this.send({ do: "image", at: Number(this.slider.value) }));
    this.slide = make("label", "dwb-words", ""); this.slideWords = make("span");
    this.slide.append(this.slideWords, this.slider);
    this.windowLabel = make("label", "dwb-words", "Window ");
    this.windowLabel.append(this.window);
    const controls = make("div", "dwb-controls");
    controls.append(this.slide, this.windowLabel, this.caption);
    this.figure.append(this.image, controls);
    const parts = make("div", "dwb-parts");
    this.tabs = make("div", "dwb-tabs", null, { role: "tablist" });
    for (const [name, words] of TABS) {
      const tab = make("button", "", words, { type: "button", role: "tab" });
      tab.dataset.tab = name;
      tab.addEventListener("click", () => this.send({ do: "tab", name }));
      this.tabs.append(tab);
    }
    const bar = make("div", "dwb-bar");
    this.look = make("input", "dwb-input", null, { type: "search", placeholder: "keyword, tag or value", "aria-label": "Search the elements by keyword, tag or value", maxlength: "200" });
    const search = later(180, () => this.send({ do: "search", text: this.look.value }));
    this.look.addEventListener("input", search);
    this.pages = new Pager(start => this.send({ do: "turn", start }));
    bar.append(this.look, this.pages.node);
    this.from = make("p", "dwb-words");
    this.table = make("table", "dwb-table");
    this.tableWrap = make("div", "dwb-wide", null, { tabindex: "0", role: "region", "aria-label": "Table, scrolls" });
    this.tableWrap.append(this.table);
    parts.append(this.tabs, bar, this.from, this.tableWrap);
    pair.append(this.figure, parts);
    this.rightPart.append(this.crumbs, this.name, this.facts, this.disagree, pair);
  }
  tell() {
    const d = this.model.get("detail");
    if (!d.title) return;
    say(this.crumbs, d.crumbs); say(this.name, d.title); say(this.facts, d.facts); say(this.disagree, d.disagree);
    this.disagree.hidden = !d.disagree;
    for (const tab of this.tabs.children) {
      const chosen = tab.dataset.tab === d.tab;
      tab.setAttribute("aria-selected", String(chosen));
      tab.disabled = !d.tabs.includes(tab.dataset.tab);
      if (tab.dataset.tab === "differences") say(tab, d.differ === null ? "Differences" : `Differences (${d.differ})`);
      if (tab.dataset.tab === "elements") say(tab, d.file ? "Elements" : "Attributes");
    }
    if (this.root.getRootNode().activeElement !== this.look) this.look.value = d.find;
    this.pages.show(d.start, d.rows.length, d.total, d.step);
    say(this.from, d.from);
    const p = d.picture;
    this.figure.hidden = !p.words;
    this.image.hidden = !p.shown;
    this.image.alt = p.alt || "";
    say(this.caption, p.words);
    options(this.window, p.windows, p.window);
    this.windowLabel.hidden = p.windows.length < 2;
    this.slide.hidden = p.images < 2;
    say(this.slideWords, `${p.slides} ${p.at + 1} of ${grouped(p.images)} `);
    this.slider.max = String(Math.max(0, p.images - 1)); this.slider.value = String(p.at);
    this.slider.setAttribute("aria-label", p.slides); this.slider.setAttribute("aria-valuetext", `${p.at + 1} of ${p.images}`);
    (d.tab === "differences" ? this.differences : this.elements).call(this, d);
  }
  paint() {
    const bytes = this.model.get("picture");
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
    if (bytes && bytes.byteLength) { this.url = URL.createObjectURL(new Blob([bytes], { type: "image/png" })); this.image.src = this.url; } else this.image.removeAttribute("src");
  }
  heads(...words) {
    const tr = make("tr");
    for (const w of words) tr.append(make("th", "", w, { scope: "col" }));
    const head = make("thead");
    head.append(tr);
    return head;
  }
  elements(d) {
    const body = make("tbody");
    for (const [tag, name, vr, value, creator, masked] of d.rows) {
      const tr = make("tr"), words = make("td");
      words.append(keyword(name));
      if (creator) words.append(make("span", "dwb-creator", creator, { title: "private, of this creator" }));
      const v = make("td", "dwb-value" + (masked ? " dwb-masked" : "") + (value === "" ? " dwb-null" : ""), value === "" ? "(empty)" : value);
      if (masked) v.title = "an identifier, hidden";
      tr.append(make("td", "dwb-tag", tag), words, make("td", "dwb-vr", vr), v);
      body.append(tr);
    }
    if (!d.rows.length) body.append(this.nothing(4, d.find ? "No element has that in its keyword, name, tag, value or creator." : "Nothing."));
    this.table.className = "dwb-table dwb-elements";
    this.table.replaceChildren(this.heads("Tag", "Keyword", "VR", "Value"), body);
  }
  differences(d) {
    const body = make("tbody");
    for (const [agree, column, level, distinct, absent, examples] of d.rows) {
      const tr = make("tr", agree ? "dwb-should" : "");
      tr.append(make("td", "", agree ? `≠ should agree in the ${level}` : "may differ"), make("td", "dwb-keyword", column), make("td", "dwb-num", grouped(distinct)),
        make("td", "dwb-num", absent ? grouped(absent) : "–"), make("td", "dwb-value", examples));
      body.append(tr);
    }
    if (!d.rows.length) body.append(this.nothing(5, d.find ? "No attribute that differs has this in its name." : "Nothing differs."));
    this.table.className = "dwb-table dwb-differences";
    this.table.replaceChildren(this.heads("", "Attribute", "Values", "Absent in", "Most frequent"), body);
  }
  nothing(columns, words) {
    const tr = make("tr");
    tr.append(make("td", "dwb-null", words, { colspan: String(columns) }));
    return tr;
  }
  end() { super.end(); if (this.url) URL.revokeObjectURL(this.url); }
}

export default { render({ model, el }) { const page = new Hierarchy(model, el); return () => page.end(); } };
