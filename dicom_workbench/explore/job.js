// The line that tells of work in another process; put after page.js by the boards that have one.

class JobLine {
  constructor(cancel) {
    this.node = make("div", "dwj-line", null, { role: "status" });
    this.words = make("span", "dwj-words");
    this.bar = make("progress", "dwj-bar", null, { max: "100" });
    this.stop = button("Cancel", "", "", cancel);
    this.node.append(this.words, this.bar, this.stop);
  }
  show(job) {
    const running = job.state === "running";
    this.node.hidden = !job.state || job.state === "done" && !job.words;
    this.node.dataset.state = job.state || "";
    say(this.words, job.words || "");
    this.stop.hidden = this.bar.hidden = !running;
    if (job.share === null || job.share === undefined) this.bar.removeAttribute("value"); else this.bar.value = job.share;
    this.bar.setAttribute("aria-label", job.words || "");
  }
}
