// The picture of explore.catalog_board: the sources, their gate, what was read of them; and reading more.

class CatalogBoard extends Page {
  constructor(model, el) {
    super(model, el, "dw-catalog", { setup: CatalogBoard.prototype.lay, state: CatalogBoard.prototype.show, job: CatalogBoard.prototype.work, answers: CatalogBoard.prototype.answered });
    this.rows = new Map();
    const head = make("header", "dwb-head");
    this.title = make("h3", "dwb-name");
    this.count = make("p", "dwb-count", "", { role: "status", "aria-live": "polite" });
    const tools = make("div", "dwb-tools"), purpose = make("label", "dwc-asked", "Gate for "), day = make("label", "dwc-asked", "on ");
    this.purpose = make("select", "dwb-input");
    this.purpose.addEventListener("change", () => this.send({ do: "purpose", name: this.purpose.value }));
    this.day = make("input", "dwb-input", null, { type: "date", required: "required" });
    this.day.style.width = "auto";
    this.day.addEventListener("change", () => { if (this.day.value) this.send({ do: "day", day: this.day.value }); });
    purpose.append(this.purpose); day.append(this.day);
    tools.append(purpose, day);
    this.note = make("p", "dwb-note", "", { role: "alert" });
    head.append(this.title, this.count, tools, this.note);
    this.jobLine = new JobLine(() => this.send({ do: "cancel" }));
    const wrap = make("div", "dwc-wrap", null, { tabindex: "0", role: "region", "aria-label": "Sources, scrolls" }), table = make("table", "dwb-table"), heads = make("thead"), tr = make("tr");
    for (const [words, cls] of [["Source"], ["Gate"], ["Last ingest"], ["Size", "dwb-num"], ["Score", "dwb-num"], [""]]) tr.append(make("th", cls || "", words, { scope: "col" }));
    heads.append(tr);
    this.body = make("tbody");
    table.append(heads, this.body);
    wrap.append(table);
    this.faults = make("div", "dwc-faults");
    this.detail = make("section", "dwc-detail");
    this.root.append(head, this.jobLine.node, wrap, this.faults, this.detail);
    this.lay(); this.show(); this.work(); this.answered();
    this.root.dataset.ready = "yes";
  }
  lay() {
    const s = this.model.get("setup");
    if (!s.purposes) return;
    say(this.title, s.title);
    this.root.setAttribute("aria-label", s.title);
    options(this.purpose, s.purposes, this.purpose.value || s.purposes[0]);
  }
  work() {
    const j = this.model.get("job");
    this.jobLine.show(j);
    this.buttons();
  }
  buttons() {
    const running = this.model.get("job").state === "running";
    for (const b of this.body.querySelectorAll(".dwc-read")) b.disabled = running || b.dataset.may !== "true";
  }
  show() {
    const s = this.model.get("state");
    if (!s.sources) return;
    say(this.count, s.words); say(this.note, s.note || "");
    options(this.purpose, this.model.get("setup").purposes, s.purpose);
    if (this.root.getRootNode().activeElement !== this.day) this.day.value = s.day;
    const focused = this.root.getRootNode().activeElement, had = focused && focused.dataset ? [focused.dataset.source, focused.className] : null;
    this.body.replaceChildren(...s.sources.map(r => this.row(r, s.chosen)));
    if (!s.sources.length) { const tr = make("tr"); tr.append(make("td", "dwb-null", "The catalogue has no source that can be read.", { colspan: "6" })); this.body.append(tr); }
    if (had && had[0]) for (const b of this.body.querySelectorAll("button")) if (b.dataset.source === had[0] && b.className === had[1]) b.focus({ preventScroll: true });
    this.faults.hidden = !s.faults.length;
    this.faults.replaceChildren(...s.faults.map(f => make("p", "", f)));
    this.buttons();
    this.tell(s.detail);
  }
  two(cell, first, second) {
    cell.append(first);
    if (second) cell.append(make("small", "", second));
    return cell;
  }
  row(r, chosen) {
    const tr = make("tr", r.id === chosen ? "dwq-chosen" : ""), source = make("td"), gate = make("td", "dwc-gate"), last = make("td");
    tr.dataset.source = r.id;
    const name = button(r.title, `Details of ${r.title}`, "dwc-name", () => this.send({ do: "choose", id: r.id === chosen ? "" : r.id }));
    name.dataset.source = r.id; name.setAttribute("aria-expanded", String(r.id === chosen));
    const about = make("p", "dwc-about", r.about + " "), badge = make("span", "dwc-badge", r.access);
    badge.dataset.access = r.access;
    about.append(badge);
    source.append(name, about);
    const verdict = make("span", "dwc-verdict", r.open ? "✓ open" : "✕ closed");
    verdict.dataset.open = String(r.open);
    gate.append(verdict, ...r.why.map(w => make("p", "", w)));
    if (r.button) {
      const b = button(r.button, r.hint, "dwc-read", () => this.send({ do: "ingest", id: r.id }));
      b.dataset.may = String(r.may); b.dataset.source = r.id;
      last.append(b);
    }
    tr.append(source, gate, this.two(make("td", "dwc-when"), r.when, r.reads), this.two(make("td", "dwb-num"), r.size, r.bytes), make("td", "dwb-num", r.score), last);
    return tr;
  }
  tell(d) {
    this.detail.hidden = !d;
    if (!d) return;
    const list = make("dl", "dwc-facts");
    for (const [name, words] of d.facts) list.append(make("dt", "", name), make("dd", "", words));
    this.detail.replaceChildren(make("h4", "", d.title), list);
  }
}

export default { render({ model, el }) { const page = new CatalogBoard(model, el); return () => page.end(); } };
