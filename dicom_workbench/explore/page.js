// What the pages of hierarchy.js and privacy_view.js share; put before them by the widget, since a widget is one file.
// Words come from DICOM headers, so they are never parsed as HTML: text goes into the page by textContent and setAttribute.

// JupyterLab takes the arrow keys and single letters for its own shortcuts, unless what has the focus itself says no; an element around it is not asked.
const FOCUSED = ["button", "input", "select", "summary"];

function make(tag, cls = "", text = null, attributes = {}) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== null) e.textContent = text;
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (FOCUSED.includes(tag) || "tabindex" in attributes) e.setAttribute("data-lm-suppress-shortcuts", "true");
  return e;
}

function button(text, label, cls, act) {
  const b = make("button", cls, text, { type: "button" });
  if (label) { b.setAttribute("aria-label", label); b.title = label; }
  b.addEventListener("click", act);
  return b;
}

function keyword(text) {  // may break between its words, not within them
  const span = make("span", "dwb-keyword");
  text.split(/(?<=[a-z0-9])(?=[A-Z])/).forEach((part, i) => { if (i) span.append(make("wbr")); span.append(part); });
  return span;
}

const grouped = n => n.toLocaleString("en-US");
const say = (node, text) => { if (node.textContent !== text) node.textContent = text; };

function later(wait, act) {  // once, when nobody has typed for a while
  let timer = 0;
  const call = () => { clearTimeout(timer); timer = setTimeout(act, wait); };
  call.stop = () => clearTimeout(timer);
  return call;
}

function options(select, words, chosen) {  // fill a list, where it changed
  const now = [...select.options].map(o => o.value);
  if (now.length !== words.length || now.some((w, i) => w !== words[i])) select.replaceChildren(...words.map(w => make("option", "", w, { value: w })));
  select.value = chosen;
}

// One page talks with one model: what somebody does goes to the kernel with a number, and comes back with it.
class Page {
  constructor(model, el, cls, traits) {
    this.model = model; this.seq = 0;
    this.root = make("section", "dw-browse " + cls, null, { "aria-busy": "false" });
    el.append(this.root);
    this.listen = [];
    for (const [trait, act] of Object.entries(traits)) {
      const bound = act.bind(this);
      model.on("change:" + trait, bound);
      this.listen.push(["change:" + trait, bound]);
    }
  }
  send(message) {
    this.root.setAttribute("aria-busy", "true");
    this.model.send({ ...message, seq: ++this.seq });
  }
  answered() {
    const answers = this.model.get("answers");
    if (answers >= this.seq || !this.seq) this.root.setAttribute("aria-busy", "false");
    this.root.dataset.answers = String(answers);
  }
  end() { for (const [name, act] of this.listen) this.model.off(name, act); }
}

class Pager {  // ‹ 1–40 of 312 ›
  constructor(turn) {
    this.node = make("div", "dwb-pager");
    this.back = button("‹", "Previous page", "", () => turn(Math.max(0, this.at - this.step)));
    this.next = button("›", "Next page", "", () => turn(this.at + this.step));
    this.place = make("span");
    this.node.append(this.back, this.place, this.next);
  }
  show(start, shown, total, step) {
    this.at = start; this.step = step;
    say(this.place, total ? `${grouped(start + 1)}–${grouped(start + shown)} of ${grouped(total)}` : "none");
    this.back.disabled = start <= 0;
    this.next.disabled = start + shown >= total;
  }
}
