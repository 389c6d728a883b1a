// The picture of explore.privacy_view: a file beside its de-identified copy, and the options to try.

class PrivacyView extends Page {
  constructor(model, el) {
    super(model, el, "dw-privacy", { setup: PrivacyView.prototype.lay, state: PrivacyView.prototype.show, answers: PrivacyView.prototype.answered });
    const head = make("header", "dwb-head");
    this.title = make("h3", "dwb-name");
    this.count = make("p", "dwb-count", "", { role: "status", "aria-live": "polite" });
    const tools = make("div", "dwb-tools");
    this.file = make("select", "dwb-input", null, { "aria-label": "File" });
    this.file.addEventListener("change", () => this.send({ do: "file", at: this.file.selectedIndex }));
    this.reveal = button("Show identifiers", "Show names and numbers of persons; this is logged", "", () => this.send({ do: "identifiers" }));
    tools.append(this.file, this.reveal);
    head.append(this.title, this.count, tools);
    this.options = make("div", "dwp-options");
    const line = make("label", "dwb-bar");
    this.profile = make("select", "dwb-input");
    this.profile.addEventListener("change", () => this.send({ do: "profile", name: this.profile.value }));
    line.append("Profile ", this.profile);
    this.checks = make("fieldset", "dwp-checks");
    this.options.append(line, this.checks);
    this.status = make("div", "dwp-status", null, { role: "status" });
    this.actions = make("div", "dwp-actions", null, { role: "group", "aria-label": "Show only elements to which this happened" });
    this.buttons = new Map();
    const bar = make("div", "dwb-bar dwp-bar");
    this.look = make("input", "dwb-input", null, { type: "search", placeholder: "keyword, tag or value", "aria-label": "Search the elements by keyword, tag or value", maxlength: "200" });
    this.look.addEventListener("input", later(180, () => this.send({ do: "search", text: this.look.value })));
    this.pages = new Pager(start => this.send({ do: "turn", start }));
    bar.append(this.look, this.pages.node);
    const wrap = make("div", "dwp-list", null, { tabindex: "0", role: "region", "aria-label": "Elements before and after, scrolls" });
    this.table = make("table", "dwb-table");
    const heads = make("thead"), tr = make("tr");
    for (const w of ["What happened", "Tag", "Keyword", "Original", "De-identified", "Why"]) tr.append(make("th", "", w, { scope: "col" }));
    heads.append(tr);
    this.body = make("tbody");
    this.table.append(heads, this.body);
    wrap.append(this.table);
    this.root.append(head, this.options, this.status, this.actions, bar, wrap);
    this.lay(); this.show(); this.answered();
    this.root.dataset.ready = "yes";
  }
  lay() {
    const s = this.model.get("setup");
    if (!s.options) return;
    say(this.title, s.title);
    this.root.setAttribute("aria-label", s.title);
    this.root.style.setProperty("--dwb-height", s.height ? s.height + "px" : "none");
    this.reveal.hidden = !s.mask;
    options(this.file, s.files, s.files[s.file]);
    this.file.hidden = s.files.length < 2;
    options(this.profile, s.profiles, s.profile);
    const focused = this.root.getRootNode().activeElement, had = focused && focused.dataset ? focused.dataset.option : null;
    this.checks.replaceChildren(make("legend", "", "Options of PS3.15 Annex E; each is tried at once, on this one file"), ...s.options.map(([word, on, fixed, note]) => {
      const label = make("label"), box = make("input", "", null, { type: "checkbox" }), text = make("span", "", word.replaceAll("-", " "));
      box.checked = on; box.disabled = fixed; box.dataset.option = word;
      box.addEventListener("change", () => this.send({ do: "option", word, on: box.checked }));
      if (note) { text.append(" ", make("small", "", note)); }
      label.append(box, text);
      return label;
    }));
    if (had) for (const box of this.checks.querySelectorAll("input")) if (box.dataset.option === had) box.focus({ preventScroll: true });
  }
  sign(action) {
    const look = this.model.get("setup").actions[action], mark = make("span", "dwp-sign", look.sign, { "aria-hidden": "true" });
    mark.style.background = look.colour; mark.style.color = look.ink;
    return mark;
  }
  show() {
    const s = this.model.get("state"), looks = this.model.get("setup").actions;
    if (!s.rows || !looks) return;
    say(this.count, s.words);
    this.status.replaceChildren(...s.status.map(([bad, words]) => make("span", bad ? "dwp-bad" : "", words)));
    for (const [action, n] of s.counts) this.tally(action, n, s.only.includes(action), looks[action].words);
    if (this.root.getRootNode().activeElement !== this.look) this.look.value = s.find;
    this.pages.show(s.start, s.rows.length, s.total, s.step);
    this.body.replaceChildren(...s.rows.map(r => this.row(r, looks)));
    if (!s.rows.length) {
      const tr = make("tr");
      tr.append(make("td", "dwb-null", "No element fits.", { colspan: "6" }));
      this.body.append(tr);
    }
  }
  tally(action, n, chosen, words) {  // the button stays the same one, so that it can be clicked while an answer arrives
    let b = this.buttons.get(action);
    if (!b) {
      b = button("", "", "", () => this.send({ do: "only", action, on: b.getAttribute("aria-pressed") !== "true" }));
      b.dataset.action = action;
      b.number = make("strong");
      b.append(this.sign(action), make("span", "", words.split(":")[0]), b.number);
      this.buttons.set(action, b);
      this.actions.append(b);
    }
    say(b.number, grouped(n));
    b.title = `${words}: ${grouped(n)} elements`;
    b.setAttribute("aria-label", b.title);
    b.setAttribute("aria-pressed", String(chosen));
    b.disabled = !n && !chosen;
  }
  row([action, tag, name, creator, before, after, why, masked], looks) {
    const tr = make("tr"), first = make("td"), act = make("span", "dwp-action"), words = make("td");
    tr.dataset.action = action;
    first.style.setProperty("--act", action === "keep" ? "transparent" : looks[action].colour);
    act.append(this.sign(action), make("span", "", action));
    act.title = looks[action].words;
    first.append(act);
    words.append(keyword(name));
    if (creator) words.append(make("span", "dwb-creator", creator, { title: "private, of this creator" }));
    const cell = (value, cls) => make("td", `dwb-value ${cls}` + (value === null || value === "" ? " dwb-null" : ""), value === null ? "–" : value === "" ? "(empty)" : value);
    const was = cell(before, "dwp-before" + (masked ? " dwb-masked" : "")), now = cell(after, "dwp-after" + (action === "keep" ? " dwp-same" : ""));
    was.dataset.action = action;
    if (masked) was.title = "an identifier, hidden";
    if (after === null) now.setAttribute("aria-label", "not there");
    tr.append(first, make("td", "dwb-tag", tag), words, was, now, make("td", "dwp-reason", why));
    return tr;
  }
}

export default { render({ model, el }) { const page = new PrivacyView(model, el); return () => page.end(); } };
