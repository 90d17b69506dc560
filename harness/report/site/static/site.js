// Sort and filter tables, draw plots. Texts are only ever set as text, never as markup.
"use strict";
(() => {
  const UNKNOWN = "–";
  const LIMIT = 300; // rows of a table that are shown at first; see also site.css
  const words = new Intl.Collator(undefined, { numeric: true });

  const textOf = (row, at) => row.cells[at].textContent.trim();
  const numberOf = (text) => parseFloat(text.replace(/,/g, "").replace("−", "-"));

  // A browser takes seconds to lay thousands of rows out; the first of those that fit are enough.
  function show(state) {
    const parts = state.wanted.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = state.table.tBodies[0].rows;
    let fitting = 0;
    for (const row of rows) {
      const text = parts.length ? row.textContent.toLowerCase() : "";
      const fits = parts.every((part) => text.includes(part));
      fitting += fits;
      row.hidden = !fits || fitting > state.limit;
    }
    state.table.classList.add("ready");
    if (!state.count) return;
    state.count.textContent = parts.length ? `${fitting} of ${rows.length}` : `${rows.length} rows`;
    state.more.hidden = fitting <= state.limit;
    state.more.textContent = `show all, not the first ${state.limit} only`;
  }

  function sort(state, at, head) {
    const table = state.table;
    const numeric = table.classList.contains(`n${at + 1}`);
    const descending = head.getAttribute("aria-sort") === "ascending";
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
    body.remove();
    body.append(...rows.map((item) => item.row));
    table.append(body);
    show(state);
  }

  function make(name, properties) {
    return Object.assign(document.createElement(name), properties);
  }

  function prepare(table) {
    const state = { table, wanted: "", limit: LIMIT };
    Array.from(table.tHead.rows[0].cells).forEach((head, at) => {
      const button = make("button", { type: "button", textContent: head.textContent });
      button.addEventListener("click", () => sort(state, at, head));
      head.replaceChildren(button);
    });
    if (table.tBodies[0].rows.length < 10) return;
    const input = make("input", { type: "search", placeholder: "Filter rows", ariaLabel: "Filter rows" });
    state.count = make("span");
    state.more = make("button", { type: "button" });
    input.addEventListener("input", () => {
      state.wanted = input.value;
      show(state);
    });
    state.more.addEventListener("click", () => {
      state.limit = Infinity;
      show(state);
    });
    const box = make("div", { className: "filter" });
    box.append(input, state.count, state.more);
    table.parentElement.before(box);
    show(state);
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
