// Sort and filter tables, draw plots. Texts are only ever set as text, never as markup.
"use strict";
(() => {
  const UNKNOWN = "–";
  const words = new Intl.Collator(undefined, { numeric: true });

  const textOf = (row, at) => row.cells[at].textContent.trim();
  const numberOf = (text) => parseFloat(text.replace(/,/g, "").replace("−", "-"));

  function sort(table, at, button) {
    const head = button.parentElement;
    const numeric = table.classList.contains(`n${at + 1}`);
    const known = head.getAttribute("aria-sort");
    const descending = known ? known === "ascending" : false;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => {
      const text = textOf(row, at);
      return { row, key: numeric ? numberOf(text) : text, unknown: text === UNKNOWN };
    });
    const sign = descending ? -1 : 1;
    rows.sort((a, b) => {
      if (a.unknown || b.unknown) return a.unknown - b.unknown; // always last
      return sign * (numeric ? a.key - b.key : words.compare(a.key, b.key));
    });
    body.append(...rows.map((item) => item.row));
  }

  function filter(table, wanted, count) {
    const parts = wanted.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = table.tBodies[0].rows;
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = parts.every((part) => text.includes(part));
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = parts.length ? `${shown} of ${rows.length}` : `${rows.length} rows`;
  }

  function prepare(table) {
    Array.from(table.tHead.rows[0].cells).forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => sort(table, at, button));
      head.replaceChildren(button);
    });
    if (table.tBodies[0].rows.length < 10) return;
    const box = document.createElement("label");
    box.className = "filter";
    const input = document.createElement("input");
    input.type = "search";
    input.placeholder = "Filter rows";
    input.setAttribute("aria-label", "Filter rows");
    const count = document.createElement("span");
    input.addEventListener("input", () => filter(table, input.value, count));
    box.append(input, count);
    table.parentElement.before(box);
    filter(table, "", count);
  }

  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("muted") };
    return { back: colour("back"), soft: colour("soft"), text: colour("text"), axis };
  }

  function draw(place) {
    const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
    const { back, soft, text, axis } = theme();
    const narrow = place.clientWidth < 600;
    const named = figure.data.filter((trace) => trace.showlegend !== false).length;
    const lines = named < 2 ? 0 : narrow ? named : Math.ceil(named / 2);
    place.style.height = `${(narrow ? 340 : 420) + 22 * lines}px`;
    const layout = {
      ...figure.layout,
      xaxis: { automargin: true, ...axis, ...figure.layout.xaxis },
      yaxis: { automargin: true, ...axis, ...figure.layout.yaxis },
      paper_bgcolor: back,
      plot_bgcolor: back,
      font: { color: text, size: narrow ? 11 : 13 },
      hoverlabel: { bgcolor: soft, font: { color: text } },
      margin: { l: 50, r: 12, t: 12, b: 40 },
      showlegend: named > 1,
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" },
    };
    const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
    window.Plotly.newPlot(place, figure.data, layout, config).then(() => {
      place.on("plotly_click", (event) => {
        const link = event.points[0].customdata;
        if (typeof link === "string") window.location.assign(link);
      });
    });
  }

  function drawAll() {
    for (const place of document.querySelectorAll("[data-figure]")) draw(place);
  }

  for (const table of document.querySelectorAll("table")) prepare(table);
  window.addEventListener("DOMContentLoaded", () => {
    if (!window.Plotly) return;
    drawAll();
    dark.addEventListener("change", drawAll);
  });
})();
