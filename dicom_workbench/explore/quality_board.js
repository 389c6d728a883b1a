// The picture of explore.quality_board: a scorecard, sliders, and where every point went.

class QualityBoard extends Page {
  constructor(model, el) {
    super(model, el, "dw-quality", { setup: QualityBoard.prototype.lay, state: QualityBoard.prototype.show, job: QualityBoard.prototype.work, answers: QualityBoard.prototype.answered });
    this.waiting = {}; this.sliders = new Map(); this.rulePages = new Map();
    const head = make("header", "dwb-head");
    this.title = make("h3", "dwb-name");
    this.count = make("p", "dwb-count", "", { role: "status", "aria-live": "polite" });
    const tools = make("div", "dwb-tools");
    this.again = button("Ask all rules again", "Ask all rules again in a process of its own", "", () => this.send({ do: "compute" }));
    this.reveal = button("Show identifiers", "Show identifiers: names and numbers of persons; this is logged", "", () => this.send({ do: "identifiers" }));
    tools.append(this.again, this.reveal);
    this.note = make("p", "dwb-note", "", { role: "alert" });
    head.append(this.title, this.count, tools, this.note);
    this.jobLine = new JobLine(() => this.send({ do: "cancel" }));
    this.empty = make("div", "dwq-empty");
    this.emptyWords = make("p", "dwq-lead");
    this.emptyCode = make("code", "dwq-command");
    this.emptyButton = button("Ask the rules now", "", "dwq-primary", () => this.send({ do: "compute" }));
    const or = make("p");
    or.append("On the command line: ", this.emptyCode);
    this.empty.append(this.emptyWords, this.emptyButton, or);
    this.body = make("div", "dwq-body");
    this.left = make("div", "dwq-left", null, { role: "group", "aria-label": "What counts, and how much" });
    this.right = make("div", "dwq-right");
    this.body.append(this.left, this.right);
    this.root.append(head, this.jobLine.node, this.empty, this.body);
    this.parts();
    this.lay(); this.show(); this.work(); this.answered();
    this.root.dataset.ready = "yes";
  }

  // Sliders: the latest values travel when the kernel has answered the ones before -----------------------------------------
  set(name, value) {
    this.waiting[name] = value;
    this.root.setAttribute("aria-busy", "true");
    if (!this.flying) this.fly();
  }
  fly() {
    const values = this.waiting;
    this.waiting = {};
    this.flying = Object.keys(values).length > 0;
    if (this.flying) this.send({ do: "set", values });
  }
  answered() {
    super.answered();
    if (this.flying && this.model.get("answers") >= this.seq) this.fly();
  }

  // Parts that stay -------------------------------------------------------------------------------------------------------
  section(title, words, cls = "") {
    const s = make("section", "dwq-section " + cls), top = make("div", "dwq-top");
    s.heading = make("h4", "", title);
    s.words = make("p", "dwb-words", words);
    top.append(s.heading);
    s.append(top, s.words);
    s.top = top;
    this.right.append(s);
    return s;
  }
  table(section, label, ...heads) {
    const wrap = make("div", "dwb-wide", null, { tabindex: "0", role: "region", "aria-label": label }), table = make("table", "dwb-table"), head = make("thead"), tr = make("tr"), body = make("tbody");
    for (const h of heads) tr.append(make("th", h.startsWith(">") ? "dwb-num" : "", h.replace(">", ""), { scope: "col" }));
    head.append(tr);
    table.append(head, body);
    wrap.append(table);
    section.append(wrap);
    body.heads = tr; body.wrap = wrap;
    return body;
  }
  parts() {
    this.cards = make("div", "dwq-cards", null, { role: "group", "aria-label": "Scores" });
    this.right.append(this.cards);
    this.lost = this.section("Where the points went", "");
    const bar = make("div", "dwb-bar");
    this.look = make("input", "dwb-input", null, { type: "search", placeholder: "find a rule", "aria-label": "Find a rule by its words or its id", maxlength: "100" });
    this.look.addEventListener("input", later(180, () => this.send({ do: "find", text: this.look.value })));
    this.pages = new Pager(start => this.send({ do: "turn", start }));
    bar.append(this.look, this.pages.node);
    this.lost.top.append(bar);
    this.lostRows = this.table(this.lost, "Lost points by rule", "What", ">Fails", ">Share", "Severity", ">Points lost", "");
    this.failing = this.section("Who fails it", "", "dwq-failing");
    this.failPages = new Pager(start => this.send({ do: "rows", start }));
    this.closeFailing = button("Close", "Close the list of failing rows", "", () => this.send({ do: "rule", id: "" }));
    const failBar = make("div", "dwb-bar");
    this.all = button("Compute all of them", "Ask all rules again, and keep every failing row", "", () => this.send({ do: "compute" }));
    failBar.append(this.all, this.failPages.node, this.closeFailing);
    this.failing.top.append(failBar);
    this.failRows = this.table(this.failing, "Failing rows");
    this.lowest = this.section("The lowest scores", "");
    this.level = make("select", "dwb-input", null, { "aria-label": "Lowest scores of" });
    this.level.addEventListener("change", () => this.send({ do: "level", level: this.level.value }));
    const levelBar = make("div", "dwb-bar");
    levelBar.append(this.level);
    this.lowest.top.append(levelBar);
    this.spread = make("figure", "dwq-spread", null, { role: "img" });
    this.lowest.append(this.spread);
    this.lowestRows = this.table(this.lowest, "Lowest scores", "", ">Score", "What costs most", ">Points lost");
    this.lowestWords = make("p", "dwb-note");
    this.lowest.append(this.lowestWords);
    this.eyes = this.section("In other eyes", "The same answers, weighed by each profile.");
    this.yours = button("Download yours as TOML", "", "", () => this.download());
    const eyesBar = make("div", "dwb-bar");
    eyesBar.append(this.yours);
    this.eyes.top.append(eyesBar);
    this.eyesRows = this.table(this.eyes, "Profiles compared");
    this.toml = make("details", "dwq-toml");
    this.tomlText = make("pre", "dwq-code");
    this.toml.append(make("summary", "", "The profile as TOML, for --profile"), this.tomlText);
    this.eyes.append(this.toml);
    this.signals = this.section("For review by a person", "", "dwq-signals");
    this.signalRows = this.table(this.signals, "Signals for review", "Signal", ">Seen in", ">Share", "");
    this.quiet = make("p", "dwb-words");
    this.signals.append(this.quiet);
  }
  lay() {
    const s = this.model.get("setup");
    if (!s.groups) return;
    say(this.title, s.title);
    this.root.setAttribute("aria-label", s.title);
    this.root.style.setProperty("--dwb-height", s.height ? s.height + "px" : "none");
    this.reveal.hidden = !s.mask; this.emptyButton.hidden = !s.asking;
    options(this.level, s.levels, this.level.value || s.levels[0]);
    if (this.sliders.size) return;
    const line = make("label", "dwq-profile");
    this.profile = make("select", "dwb-input");
    this.profile.addEventListener("change", () => this.send({ do: "profile", name: this.profile.value }));
    line.append(make("span", "dwq-caption", "Profile"), this.profile);
    this.left.append(line);
    options(this.profile, s.profiles, s.profiles[0]);
    this.changed = make("p", "dwb-words", "", { role: "status" });
    this.back = button("Back to the profile", "Undo all changes of the sliders", "", () => this.send({ do: "profile", name: this.profile.value }));
    this.left.append(this.changed, this.back);
    for (const [title, words, sliders] of s.groups) {
      const set = make("fieldset", "dwq-group");
      set.append(make("legend", "", title), make("p", "dwb-words", words));
      for (const d of sliders) set.append(this.slider(d));
      this.left.append(set);
    }
  }
  slider([name, label, least, most, step, unit]) {
    const line = make("label", "dwq-slider"), input = make("input", "", null, { type: "range", min: String(least), max: String(most), step: String(step) }), out = make("span", "dwq-value");  // an <output> would take the label for itself
    input.dataset.name = name;
    const words = v => `${Number(v).toLocaleString("en-US", { maximumFractionDigits: 2 })}${unit ? " " + unit : ""}`;
    input.tell = v => { say(out, words(v)); input.setAttribute("aria-valuetext", words(v)); };
    input.addEventListener("input", () => { input.tell(input.value); this.set(name, Number(input.value)); });
    line.append(make("span", "dwq-caption", label), out, input);
    this.sliders.set(name, input);
    return line;
  }

  // What changes ------------------------------------------------------------------------------------------------------------
  work() {
    const j = this.model.get("job"), running = j.state === "running";
    this.jobLine.show(j);
    this.again.disabled = this.emptyButton.disabled = this.all.disabled = running;
  }
  show() {
    const s = this.model.get("state");
    if (s.scored === undefined) return;
    say(this.count, s.words); say(this.note, s.note || "");
    this.empty.hidden = s.scored; this.body.hidden = !s.scored; this.again.hidden = !s.scored || !this.model.get("setup").asking;
    if (!s.scored) { say(this.emptyWords, s.advice); say(this.emptyCode, s.command); return; }
    for (const [name, value] of Object.entries(s.values)) {
      const input = this.sliders.get(name);
      if (input && !(name in this.waiting) && !(this.flying && input.getRootNode().activeElement === input)) { if (Number(input.value) !== value) input.value = String(value); input.tell(value); }
    }
    options(this.profile, this.model.get("setup").profiles, s.profile);
    say(this.changed, s.changed ? `Changed: what you see is yours, from ${s.profile}.` : s.about);
    this.back.hidden = !s.changed;
    this.card(s); this.points(s); this.fails(s); this.worst(s); this.compare(s); this.review(s);
  }
  card(s) {
    this.cards.replaceChildren(...s.cards.map(([name, score, words, share, main]) => {
      const c = make("div", "dwq-card" + (main ? " dwq-main" : "")), track = make("span", "dwq-track", null, { "aria-hidden": "true" }), fill = make("span", "dwq-fill");
      fill.style.width = share + "%";
      track.append(fill);
      c.dataset.name = name;
      c.append(make("span", "dwq-what", name), make("strong", "dwq-score", score), track, make("span", "dwq-small", words));
      return c;
    }));
  }
  what(title, id) {
    const cell = make("td", "dwq-what-cell");
    cell.append(make("span", "", title), " ", make("small", "dwq-id", id));
    return cell;
  }
  points(s) {
    const l = s.lost;
    say(this.lost.words, l.words);
    this.pages.show(l.start, l.rows.length, l.total, l.step);
    if (this.root.getRootNode().activeElement !== this.look) this.look.value = l.find;
    const focused = this.root.getRootNode().activeElement, had = focused && focused.dataset ? focused.dataset.rule : null;
    this.lostRows.replaceChildren(...l.rows.map(([title, id, fails, share, severity, points, wide, over, chosen]) => {
      const tr = make("tr", chosen ? "dwq-chosen" : ""), lost = make("td", "dwb-num dwq-lost"), bar = make("span", "dwq-bar", null, { "aria-hidden": "true" });
      bar.style.width = wide + "%"; bar.hidden = !wide;
      lost.append(bar, make("span", "", points));
      const shown = make("td", "dwb-num" + (over ? " dwq-over" : ""), over ? `${share} ▲` : share);
      if (over) shown.title = "above the threshold";
      const who = button("Who?", `Who fails: ${title}`, "dwq-who", () => this.send({ do: "rule", id: chosen ? "" : id }));
      who.dataset.rule = id; who.setAttribute("aria-expanded", String(chosen));
      const last = make("td");
      last.append(who);
      tr.append(this.what(title, id), make("td", "dwb-num", fails), shown, make("td", "dwq-severity", severity), lost, last);
      return tr;
    }), ...l.ends.map(([words, points]) => {
      const tr = make("tr", "dwq-end");
      tr.append(make("td", "", words, { colspan: "4" }), make("td", "dwb-num", points), make("td"));
      return tr;
    }));
    if (had) for (const b of this.lostRows.querySelectorAll("button")) if (b.dataset.rule === had) b.focus({ preventScroll: true });
  }
  heads(body, columns) {
    body.heads.replaceChildren(...columns.map(h => make("th", h.startsWith(">") ? "dwb-num" : "", h.replace(">", ""), { scope: "col" })));
  }
  fails(s) {
    const f = s.failing;
    this.failing.hidden = !f;
    if (!f) return;
    say(this.failing.heading, `Who fails: ${f.title}`);
    say(this.failing.words, f.words);
    this.all.hidden = !f.more || !this.model.get("setup").asking;
    this.failPages.show(f.start, f.rows.length, f.total, f.step);
    this.heads(this.failRows, f.columns);
    this.failRows.replaceChildren(...f.rows.map(r => {
      const tr = make("tr");
      for (const v of r) tr.append(make("td", "dwb-value dwq-key" + (v === null ? " dwb-null" : ""), v === null ? "–" : v));
      return tr;
    }));
  }
  worst(s) {
    const w = s.worst;
    options(this.level, this.model.get("setup").levels, w.level);
    say(this.lowest.words, w.words); say(this.lowestWords, w.note || "");
    this.lowestRows.wrap.hidden = !w.rows.length;
    this.heads(this.lowestRows, w.columns);
    this.lowestRows.replaceChildren(...w.rows.map(([name, score, title, id, points]) => {
      const tr = make("tr");
      tr.append(make("td", "dwb-value dwq-key", name), make("td", "dwb-num", score));
      if (w.columns.length > 2) tr.append(this.what(title, id), make("td", "dwb-num", points));
      return tr;
    }));
    this.histogram(w.bins, w.spread);
  }
  histogram(bins, words) {
    this.spread.hidden = !bins.length;
    if (!bins.length) return;
    this.spread.setAttribute("aria-label", words);
    const most = Math.max(...bins.map(b => b[2]), 1), plot = make("div", "dwq-plot"), axis = make("div", "dwq-axis"), every = Math.max(1, Math.ceil(bins.length / 8));
    bins.forEach(([low, high, n], i) => {
      const column = make("span", "dwq-column", null, { title: `${low} to ${high}: ${grouped(n)}` }), fill = make("span");
      fill.style.height = n ? Math.max(1.5, 100 * n / most) + "%" : "0";
      column.append(fill);
      plot.append(column);
      const mark = make("span", "", i % every === 0 ? String(low) : "");
      axis.append(mark);
    });
    axis.append(make("span", "dwq-last", "100"));
    this.spread.replaceChildren(make("figcaption", "dwb-words", words), plot, axis);
  }
  compare(s) {
    this.heads(this.eyesRows, s.eyes.columns);
    this.eyesRows.replaceChildren(...s.eyes.rows.map(([title, name, chosen, ...scores]) => {
      const tr = make("tr", chosen ? "dwq-chosen" : "");
      tr.dataset.profile = name;
      tr.append(this.what(title, name), ...scores.map(v => make("td", "dwb-num", v)));
      return tr;
    }));
    say(this.tomlText, s.toml);
  }
  review(s) {
    say(this.signals.words, s.signals.words); say(this.quiet, s.signals.quiet);
    this.signalRows.wrap.hidden = !s.signals.rows.length;
    this.signalRows.replaceChildren(...s.signals.rows.map(([title, id, seen, share, chosen]) => {
      const tr = make("tr", chosen ? "dwq-chosen" : ""), last = make("td"), who = button("Where?", `Where: ${title}`, "dwq-who", () => this.send({ do: "rule", id: chosen ? "" : id }));
      who.setAttribute("aria-expanded", String(chosen));
      last.append(who);
      tr.append(this.what(title, id), make("td", "dwb-num", seen), make("td", "dwb-num", share), last);
      return tr;
    }));
  }
  download() {
    const url = URL.createObjectURL(new Blob([this.model.get("state").toml], { type: "application/toml" })), a = make("a", "", null, { href: url, download: "my_profile.toml" });
    a.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }
}

export default { render({ model, el }) { const page = new QualityBoard(model, el); return () => page.end(); } };
