"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const root = document.documentElement;
  const make = (tag, text, parent) => {
    const made = document.createElement(tag);
    made.textContent = text;
    parent?.append(made);
    return made;
  };

  // Theme: the system's until a reader chooses. A browser may refuse to remember what a file on disk says.
  const remember = {
    get() { try { return localStorage.getItem("theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("theme", value); } catch { /* for this visit alone */ } },
  };
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => {
    $("theme").textContent = isDark() ? "light theme" : "dark theme";
    $("theme").setAttribute("aria-pressed", String(isDark()));
  };
  if (remember.get()) root.dataset.theme = remember.get();
  label();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  $("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember.set(root.dataset.theme);
    label();
    document.querySelectorAll("details.chart[open]").forEach((each) => each.dispatchEvent(new Event("redraw")));
  });

  // Claims.
  const filters = $("filters"), claims = [...document.querySelectorAll(".claim")];
  const filter = () => {
    const wanted = Object.fromEntries(new FormData(filters));
    const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const claim of claims) {
      const text = claim.textContent.toLowerCase();
      const fits = (!wanted.verdict || claim.dataset.verdict === wanted.verdict)
        && (!wanted.group || claim.dataset.group === wanted.group)
        && (!wanted.evidence || claim.dataset.evidence.includes(wanted.evidence))
        && words.every((word) => text.includes(word));
      claim.hidden = !fits;
      count += fits;
    }
    $("shown").textContent = `${count} of ${claims.length} claims`;
    $("none").hidden = count > 0;
  };
  if (filters) {
    filters.addEventListener("input", filter);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("reset", () => setTimeout(filter));
    document.querySelectorAll("[data-verdict]:is(a)").forEach((link) => link.addEventListener("click", () => {
      filters.elements.verdict.value = link.dataset.verdict;
      filter();
    }));
  }

  // Records that are runs lead to what is known of them.
  document.querySelectorAll("[data-record]").forEach((place) => {
    if (!(place.dataset.record in data.runs)) return;
    place.textContent = "";
    make("a", place.dataset.record, place).href = `#run=${encodeURIComponent(place.dataset.record)}`;
  });
  const dialog = $("record");
  const pair = (list, name, value) => {
    if (value === null || value === undefined || value === "") return;
    make("dt", name, list);
    make("dd", String(value), list);
  };
  const open = (name) => {
    const run = data.runs[name], body = $("record-body");
    $("record-title").textContent = name;
    body.textContent = "";
    const list = make("dl", "", body);
    list.className = "pairs";
    if (!run) {
      make("p", "This page knows no such run.", body);
    } else {
      pair(list, "seed", run.uses[0][3]);
      if (run.spec) {
        const version = Object.entries(run.versions).map(([what, number]) => `${what} ${number}`).join(", ");
        for (const key of ["status", "evidence", "device", "processor", "threads", "parameters"]) pair(list, key, run[key]);
        pair(list, "seconds", Number(run.seconds).toFixed(1));
        pair(list, "versions", version);
        pair(list, "source digest", run.source_digest);
        pair(list, "data", `${run.data_source}, ${run.data_digest}`);
      } else {
        make("p", "Its record did not come with the published tables this page is drawn from.", body);
      }
      make("dt", "used in", list);
      const used = make("dd", "", list);
      for (const [item, part, setting] of run.uses) {
        const line = make("div", "", used);
        make("a", item, line).href = `#${item}`;
        line.append(`, ${part}: ${setting}`);
      }
      if (run.spec) {
        make("h3", "Spec", body);
        const spec = make("pre", JSON.stringify(run.spec, null, 1), body);
        spec.tabIndex = 0;
        spec.setAttribute("aria-label", "spec");
      }
    }
    if (!dialog.open) dialog.showModal();
    $("record-title").focus();
  };
  const follow = () => {
    const place = decodeURIComponent(location.hash.slice(1));
    if (place.startsWith("run=")) return open(place.slice(4));
    if (dialog.open) dialog.close();
    const target = place ? $(place) : null;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target?.hidden && filters) { filters.reset(); target.open = true; }
    document.querySelectorAll(".contents details[open]").forEach((menu) => { menu.open = false; });
    target?.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  let before = "";
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#run="]');
    if (link && !dialog.open) before = location.hash;
    if (link && link.hash === location.hash) follow();
  });
  $("record-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#run=")) history.replaceState(null, "", before || location.pathname);
  });
  follow();

  // Charts: the library is unpacked when the first is opened.
  const library = () => {
    if (!window.Bokeh) {
      const bytes = Uint8Array.from(atob($("charts").textContent), (letter) => letter.charCodeAt(0));
      make("script", new TextDecoder().decode(bytes), document.head);
    }
    window.Bokeh.set_log_level("warn");
    return window.Bokeh;
  };
  const palette = {
    light: ["#0b5580", "#b3541e", "#1d6b42", "#7a3b8f", "#8a6a00", "#a3352b", "#3d6f8c", "#555b66"],
    dark: ["#86c5ec", "#f0a36f", "#84d3a5", "#d0a3e3", "#e6c36d", "#f2a196", "#a9cbdc", "#c3c8d0"],
  };
  const dashes = ["solid", "dashed", "dotted"];
  const draw = (chart, place) => {
    const Bokeh = library(), css = getComputedStyle(root);
    const ink = css.getPropertyValue("--ink").trim(), soft = css.getPropertyValue("--soft").trim();
    const rule = css.getPropertyValue("--rule").trim(), card = css.getPropertyValue("--card").trim();
    const colours = palette[isDark() ? "dark" : "light"];
    const text = { axis_label_text_color: ink, axis_label_text_font_style: "normal", major_label_text_color: ink,
      axis_line_color: soft, major_tick_line_color: soft, minor_tick_line_color: null };
    const hover = new Bokeh.HoverTool({ mode: "mouse", tooltips: [["", "@name"], ["epoch", "@epoch"],
      ["mean", "@mean{0.0000}"], ["seeds", "@count: @min{0.0000} to @max{0.0000}"]] });
    const figure = Bokeh.Plotting.figure({ sizing_mode: "stretch_both", tools: [hover], toolbar_location: null,
      background_fill_color: card, border_fill_color: card, outline_line_color: null });
    figure.xaxes.forEach((axis) => axis.setv({ axis_label: "epoch", ...text }));
    figure.yaxes.forEach((axis) => axis.setv({ axis_label: chart.metric, ...text }));
    [...figure.xgrids, ...figure.ygrids].forEach((grid) => grid.setv({ grid_line_color: rule }));
    const items = chart.lines.map((line, at) => {
      const { name, ...numbers } = line, many = { name: line.epoch.map(() => name), ...numbers };
      const source = new Bokeh.ColumnDataSource({ data: many });
      const colour = colours[at % colours.length], dash = dashes[Math.floor(at / colours.length) % dashes.length];
      const drawn = figure.line({ field: "epoch" }, { field: "mean" }, { source, line_color: colour, line_width: 2, line_dash: dash });
      const dots = figure.scatter({ field: "epoch" }, { field: "mean" }, { source, size: 6, fill_color: colour, line_color: colour });
      hover.renderers = [...(Array.isArray(hover.renderers) ? hover.renderers : []), dots];
      return new Bokeh.LegendItem({ label: { value: name }, renderers: [drawn, dots] });
    });
    figure.add_layout(new Bokeh.Legend({ items, click_policy: "hide", label_text_color: ink, label_text_font_size: "11px",
      background_fill_color: card, border_line_color: null, spacing: 1 }), innerWidth < 700 ? "below" : "right");
    place.textContent = "";
    return Bokeh.Plotting.show(figure, place);
  };
  document.querySelectorAll("details.chart").forEach((place) => {
    const charts = data.curves[place.dataset.item];
    if (!charts?.length) return;
    place.hidden = false;
    const build = () => {
      const plot = place.querySelector(".plot");
      if (!plot.firstChild) {
        const name = make("label", "of ", plot), choice = make("select", "", name);
        charts.forEach((chart, at) => { make("option", chart.title, choice).value = at; });
        make("div", "", plot).className = "canvas";
        choice.addEventListener("change", build);
      }
      const at = Number(plot.querySelector("select").value), canvas = plot.querySelector(".canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${charts[at].title}, against epoch; the figure above and history.csv say the same`);
      draw(charts[at], canvas);
    };
    place.addEventListener("toggle", () => { if (place.open) build(); });
    place.addEventListener("redraw", build);
  });

  // On paper everything is open.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open], .chart, .runs, .behind)")];
    opened.forEach((each) => { each.open = true; });
    document.querySelectorAll('img[loading="lazy"]').forEach((image) => { image.loading = "eager"; });
  });
  addEventListener("afterprint", () => opened.forEach((each) => { each.open = false; }));
})();
