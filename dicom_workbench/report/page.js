// Brings the charts to life. Expressions run in Vega's interpreter, so that the page needs no 'unsafe-eval'.
for (const data of document.querySelectorAll("script[data-chart]")) {
  const figure = document.getElementById(data.dataset.chart);
  const live = document.createElement("div");
  const options = {
    mode: "vega-lite", renderer: "svg", ast: true,
    actions: {export: true, source: false, compiled: false, editor: false},
  };
  vegaEmbed(live, JSON.parse(data.textContent), options)
    .then(() => { figure.replaceChildren(live); figure.dataset.live = "yes"; })
    .catch((error) => { figure.dataset.live = "no"; console.warn(error); });  // the SVG stays
}
const folded = () => document.querySelectorAll("details:not(.dw-made):not([open])");
addEventListener("beforeprint", () => { for (const d of folded()) { d.open = true; d.dataset.printed = "yes"; } });
addEventListener("afterprint", () => { for (const d of document.querySelectorAll("[data-printed]")) { d.open = false; delete d.dataset.printed; } });
