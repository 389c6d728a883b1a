// The picture of explore.series_review: uncertain series, one after the other; accept, correct or skip.

class SeriesReview extends Page {
  constructor(model, el) {
    super(model, el, "dw-review", { setup: SeriesReview.prototype.lay, state: SeriesReview.prototype.show, picture: SeriesReview.prototype.paint, answers: SeriesReview.prototype.answered });
    this.root.setAttribute("data-lm-suppress-shortcuts", "true");  // JupyterLab has letters of its own
    this.root.addEventListener("keydown", e => this.key(e));
    const head = make("header", "dwb-head");
    this.title = make("h3", "dwb-name");
    this.count = make("p", "dwb-count", "", { role: "status", "aria-live": "polite" });
    const tools = make("div", "dwb-tools");
    this.give = button("Export corrections", "Save what was decided as a CSV file", "", () => this.send({ do: "export" }));
    this.reveal = button("Show identifiers", "Show names and numbers of persons; this is logged", "", () => this.send({ do: "identifiers" }));
    tools.append(this.give, this.reveal);
    this.note = make("p", "dwb-note", "", { role: "alert" });
    head.append(this.title, this.count, tools, this.note);
    const bar = make("div", "dws-bar"), slide = make("label");
    this.sure = make("input", "", null, { type: "range", min: "0", max: "1", step: "0.05", "aria-label": "Look at confidences below" });
    this.sureWords = make("span");
    this.sure.addEventListener("input", () => say(this.sureWords, Number(this.sure.value).toFixed(2)));
    this.sure.addEventListener("change", () => this.send({ do: "threshold", value: Number(this.sure.value) }));
    slide.append("Confidence below", this.sure, this.sureWords);
    this.chips = make("div", "dws-chips", null, { role: "group", "aria-label": "Why" });
    this.buttons = new Map();
    this.look = make("input", "dwb-input", null, { type: "search", placeholder: "description or kind", "aria-label": "Search by description or kind", maxlength: "200" });
    this.look.addEventListener("input", later(180, () => this.send({ do: "search", text: this.look.value })));
    this.pages = new Pager(start => this.send({ do: "turn", start }));
    bar.append(slide, this.chips, this.look, this.pages.node);
    const body = make("div", "dwb-body");
    this.list = make("div", "dwb-left dws-list", null, { role: "listbox", tabindex: "0", "aria-label": "Series to look at; arrow keys choose, A accepts, C corrects, S skips, U takes back" });
    this.right = make("div", "dwb-right", null, { role: "region", "aria-label": "The chosen series", tabindex: "0" });
    this.detail();
    body.append(this.list, this.right);
    this.root.append(head, bar, body);
    model.on("msg:custom", this.saved = (message, buffers) => this.save(message, buffers));
    this.lay(); this.show(); this.paint(); this.answered();
    this.root.dataset.ready = "yes";
  }
  detail() {
    this.empty = make("p", "dws-empty");
    this.inside = make("div", "dwb-parts");
    this.series = make("p", "dwb-crumbs");
    this.name = make("h4", "dwb-what");
    this.called = make("p", "dws-called");
    this.reason = make("p", "dws-reason");
    const acts = make("div", "dws-acts", null, { role: "group", "aria-label": "Decide" });
    this.accept = button("", "Accept what the program says (A)", "dws-accept", () => this.send({ do: "accept", alike: this.alike.checked }));
    this.acceptWords = make("span");
    this.accept.append(this.acceptWords, make("kbd", "", "A", { "aria-hidden": "true" }));
    const correct = make("label", "dws-correct", "It is ");
    this.kind = make("select", "dwb-input", null, { "aria-label": "The right kind (C)" });
    this.apply = button("Correct", "Correct to the kind beside", "dws-apply", () => this.send({ do: "correct", kind: this.kind.value, alike: this.alike.checked }));
    this.apply.append(make("kbd", "", "C", { "aria-hidden": "true" }));
    this.kind.addEventListener("change", () => { this.touched = true; });
    this.kind.addEventListener("keydown", e => { if (e.key === "Enter") { e.preventDefault(); this.apply.click(); this.list.focus(); } });
    correct.append(this.kind);
    this.skip = button("Skip", "Look at it later (S)", "dws-skip", () => this.send({ do: "skip" }));
    this.skip.append(make("kbd", "", "S", { "aria-hidden": "true" }));
    this.undo = button("Take back", "Take back what was decided (U)", "dws-undo", () => this.send({ do: "undo" }));
    this.undo.append(make("kbd", "", "U", { "aria-hidden": "true" }));
    this.same = make("label", "dws-alike");
    this.alike = make("input", "", null, { type: "checkbox" });
    this.alikeWords = make("span");
    this.same.append(this.alike, this.alikeWords);
    acts.append(this.accept, correct, this.apply, this.skip, this.undo, this.same);
    const pair = make("div", "dws-pair");
    this.figure = make("figure", "dws-figure");
    this.image = make("img", "dwb-image");
    this.slide = make("label", "dwb-words");
    this.slideWords = make("span");
    this.slider = make("input", "dwb-slider", null, { type: "range", min: "0", step: "1", "aria-label": "Image" });
    this.slider.addEventListener("change", () => this.send({ do: "image", at: Number(this.slider.value) }));
    this.slide.append(this.slideWords, this.slider);
    this.caption = make("p", "dwb-words");
    this.figure.append(this.image, this.slide, this.caption);
    this.facts = make("tbody");
    const table = make("table", "dwb-table dws-facts", null, { "aria-label": "Attributes" });
    table.append(this.facts);
    pair.append(this.figure, table);
    this.inside.append(this.series, this.name, this.called, this.reason, acts, pair);
    this.right.append(this.empty, this.inside);
  }
  lay() {
    const s = this.model.get("setup");
    if (!s.kinds) return;
    say(this.title, s.title);
    this.root.setAttribute("aria-label", s.title);
    this.root.style.setProperty("--dwb-height", s.height ? s.height + "px" : "none");
    this.reveal.hidden = !s.mask;
    options(this.kind, s.kinds, this.kind.value || s.kinds[0]);
  }
  show() {
    const s = this.model.get("state"), setup = this.model.get("setup");
    if (!s.rows) return;
    say(this.count, s.words); say(this.note, s.note || "");
    this.give.disabled = !s.done;
    this.sure.value = String(s.threshold); say(this.sureWords, s.threshold.toFixed(2));
    if (this.root.getRootNode().activeElement !== this.look) this.look.value = s.find;
    for (const [why, n] of s.counts) this.chip(why, n, s.only === why, setup.why[why] || "by a person");
    this.pages.show(s.start, s.rows.length, s.total, s.step);
    const focused = this.list.contains(this.root.getRootNode().activeElement);
    this.list.replaceChildren(...s.rows.map(r => this.line(r)));
    if (!s.rows.length) this.list.append(make("p", "dws-empty", "No series."));
    const chosen = this.list.querySelector('[aria-selected="true"]');
    if (chosen) { this.list.setAttribute("aria-activedescendant", chosen.id); if (focused || this.list === this.root.getRootNode().activeElement) chosen.scrollIntoView({ block: "nearest" }); }
    else this.list.removeAttribute("aria-activedescendant");
    say(this.empty, s.empty);
    this.tell(s.chosen);
  }
  chip(why, n, on, words) {
    let b = this.buttons.get(why);
    if (!b) {
      b = button("", "", "", () => this.send({ do: "only", why: b.getAttribute("aria-pressed") === "true" ? "" : why }));
      b.dataset.why = why;
      b.number = make("strong");
      b.append(make("span", "", why), b.number);
      this.buttons.set(why, b);
      this.chips.append(b);
    }
    say(b.number, grouped(n));
    b.title = `${words}: ${grouped(n)}`; b.setAttribute("aria-label", `${why}, ${b.title}`);
    b.setAttribute("aria-pressed", String(on));
    b.disabled = !n && !on;
  }
  line(r) {
    const item = make("div", "dwb-item", null, { role: "option", "aria-selected": String(r.selected), id: `dws-${r.at}` });
    item.dataset.at = String(r.at);
    const sure = make("span", "dws-sure"), bar = make("i");
    bar.style.setProperty("--sure", String(r.confidence));
    sure.append(bar, r.confidence.toFixed(2));
    const below = make("span", "dwb-facts");
    below.append(make("span", "dws-why", r.later ? r.why + ", later" : r.why), " " + r.facts);
    below.firstChild.dataset.why = r.why;
    item.append(make("span", "dwb-title", r.title), make("span", "dws-kind", r.kind), below, sure);
    item.addEventListener("click", () => { this.list.focus({ preventScroll: true }); this.send({ do: "select", at: r.at }); });
    return item;
  }
  tell(c) {
    this.empty.hidden = Boolean(c); this.inside.hidden = !c;
    if (!c) return;
    const other = this.seen !== c.series;
    this.seen = c.series;
    say(this.series, c.series); say(this.name, c.title);
    const state = make("span", "dws-why", c.decided ? `decided: ${c.decided}` : c.conflict ? "conflict" : c.kind === "unknown" ? "unknown" : `confidence ${c.confidence.toFixed(2)}`);
    state.dataset.why = c.decided ? "decided" : c.conflict ? "conflict" : c.kind === "unknown" ? "unknown" : "";
    this.called.replaceChildren("Called ", make("strong", "", c.kind), c.detail ? ` (${c.detail}) ` : " ", state);
    say(this.reason, c.reason);
    say(this.acceptWords, c.kind === "unknown" ? "It cannot be told" : `Accept ${c.kind}`);
    if (other) { this.alike.checked = false; this.kind.value = c.decided || (c.kind === "unknown" ? this.kind.options[0].value : c.kind); }
    this.same.hidden = !c.alike;
    say(this.alikeWords, `and ${grouped(c.alike)} ${c.alike === 1 ? "other" : "others"} of this name`);
    this.undo.hidden = !c.decided;
    this.skip.hidden = Boolean(c.decided);
    this.facts.replaceChildren(...c.attributes.map(([name, value]) => {
      const tr = make("tr");
      tr.append(make("th", "", name, { scope: "row" }), make("td", "dwb-value", value));
      return tr;
    }));
    const p = c.picture;
    this.figure.hidden = !p.words && !p.shown;
    this.image.hidden = !p.shown;
    this.image.alt = p.shown ? `Picture: ${p.words}` : "";
    say(this.caption, p.words);
    this.slide.hidden = p.images < 2;
    say(this.slideWords, `Image ${p.at + 1} of ${grouped(p.images)} `);
    this.slider.max = String(Math.max(0, p.images - 1)); this.slider.value = String(p.at);
  }
  paint() {
    const bytes = this.model.get("picture");
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
    if (bytes && bytes.byteLength) { this.url = URL.createObjectURL(new Blob([bytes], { type: "image/png" })); this.image.src = this.url; } else this.image.removeAttribute("src");
  }
  key(e) {
    if (e.altKey || e.ctrlKey || e.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
    const s = this.model.get("state"), at = s.rows.findIndex(r => r.selected), letter = e.key.toLowerCase();
    const go = row => { if (row) this.send({ do: "select", at: row.at }); };
    if (e.key === "ArrowDown") { if (at + 1 < s.rows.length) go(s.rows[at + 1]); else if (s.start + s.step < s.total) this.send({ do: "turn", start: s.start + s.step }); }
    else if (e.key === "ArrowUp") { if (at > 0) go(s.rows[at - 1]); else if (s.start > 0) this.send({ do: "turn", start: Math.max(0, s.start - s.step) }); }
    else if (!s.chosen) return;
    else if (letter === "a") this.send({ do: "accept", alike: this.alike.checked });
    else if (letter === "c") this.kind.focus();
    else if (letter === "s" && !s.chosen.decided) this.send({ do: "skip" });
    else if (letter === "u" && s.chosen.decided) this.send({ do: "undo" });
    else return;
    e.preventDefault(); e.stopPropagation();
  }
  save(message, buffers) {
    if (!message.file || !buffers || !buffers.length) return;
    const url = URL.createObjectURL(new Blob([buffers[0]], { type: "text/csv" })), a = make("a", "", null, { href: url, download: message.file });
    this.root.append(a); a.click(); a.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
  end() { super.end(); this.model.off("msg:custom", this.saved); if (this.url) URL.revokeObjectURL(this.url); }
}

export default { render({ model, el }) { const page = new SeriesReview(model, el); return () => page.end(); } };
