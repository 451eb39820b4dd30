/* The page as a whole: which view shows, what it lists, the keyboard. */

const app = {
  view: null,
  similarity: about.threshold,
  query: "",
  chosen: {}, /* filter and order of each view */
};
const $ = (id) => document.getElementById(id);

const views = {
  clusters: new ClusterView($("clusters")),
  pairs: new PairView($("pairs")),
  unencoded: new UnencodedView($("unencoded")),
  summary: new SummaryView($("summary")),
};

/* Which images have the searched text in their path; null if nothing is searched. */
let matched = { query: "", images: null };
function matchingImages() {
  const query = app.query.toLowerCase();
  if (matched.query !== query) {
    matched = { query, images: null };
    if (query) {
      const folders = images.folders.map((folder) => folder.toLowerCase());
      matched.images = Uint8Array.from(images.name, (name, image) => (folders[images.folder[image]] + name.toLowerCase()).includes(query));
    }
  }
  return matched.images;
}

app.refresh = () => {
  const view = views[app.view];
  const chosen = app.chosen[app.view] || {};
  const cut = app.similarity <= about.threshold ? about.cosine_cut : cosineOf(app.similarity);
  view.refresh({ cut, matches: matchingImages(), filter: chosen.filter, order: chosen.order });
  $("threshold-value").replaceChildren(app.similarity.toFixed(3), element("span", { class: "cosine" }, ` (cosine ${cut.toFixed(4)})`));
  if (!view.noun) return;
  const number = view.list.items.length / (view.both || 1);
  const whole = view.listed < view.total && cut <= about.cosine_cut ? `${plural(view.total, view.noun)}, ${count(view.listed)} listed` : plural(view.listed, view.noun);
  $("shown").textContent = number === view.listed ? whole : `${count(number)} of ${whole}`;
};

app.advance = () => views[app.view].list?.move(1);

app.show = (name) => {
  app.view = name;
  const view = views[name];
  for (const other of Object.keys(views)) {
    $(other).hidden = other !== name;
    $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
    $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
  }
  document.body.dataset.view = name;
  if (view.noun) {
    const chosen = app.chosen[name] ??= { filter: view.filters[0][0], order: view.orders[0][0] };
    for (const [id, options, value] of [["filter", view.filters, chosen.filter], ["sort", view.orders, chosen.order]]) {
      $(id).replaceChildren(...options.map(([key, text]) => element("option", { value: key, selected: key === value }, text)));
    }
  }
  app.refresh();
};

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const target = event.target;
  if (target.matches("input:not([type=range]), select, textarea")) {
    if (event.key === "Escape") {
      event.preventDefault(); /* a search field would be emptied */
      target.blur();
    }
    return;
  }
  const view = views[app.view];
  const act = {
    j: () => view.list?.move(1), ArrowDown: () => view.list?.move(1),
    k: () => view.list?.move(-1), ArrowUp: () => view.list?.move(-1),
    z: undo, "?": () => $("help").showModal(), "/": () => $("search").focus(),
  }[event.key];
  if (event.key.startsWith("Arrow") && target.matches("input")) return;
  if (act) act();
  else if (KEYS[event.key]) view.decide(KEYS[event.key]);
  else if (/^[1-9]$/.test(event.key) && view.mark) view.mark(Number(event.key));
  else return;
  event.preventDefault();
}

function start() {
  document.title = `facededup: ${shown(about.store)}`;
  $("store").textContent = shown(about.store.split("/").pop());
  $("store").title = shown(about.store);
  for (const name of ["clusters", "pairs", "unencoded"]) $(`tab-${name}`).querySelector(".count").textContent = count(views[name].total);
  $("help-regroup").textContent = "The threshold can be raised here. Pairs below it disappear, and clusters fall into the groups that "
    + (about.clustering === "chinese-whispers" ? "average linkage, another way to make clusters, gives" : "facededup find gives")
    + " at that threshold, with the decisions known when this page was written. To lower it, run facededup find again.";
  $("help-decisions").textContent = live
    ? "Decisions are saved in the store as you make them; the next facededup find respects them."
    : "Decisions are kept in this browser. Download them and take them into the store with facededup decisions import FILE; the next facededup find respects them.";

  const media = matchMedia("(prefers-color-scheme: dark)");
  setTheme(media.matches ? "dark" : "light");
  media.addEventListener("change", () => setTheme(media.matches ? "dark" : "light"));
  $("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  $("help-button").addEventListener("click", () => $("help").showModal());

  const slider = $("threshold");
  slider.min = about.threshold;
  slider.max = Math.max(1, about.threshold);
  slider.value = about.threshold;
  let frame = 0;
  slider.addEventListener("input", () => {
    app.similarity = Number(slider.value) <= about.threshold ? about.threshold : Number(slider.value);
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(app.refresh);
  });
  let typing = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      app.query = $("search").value;
      app.refresh();
    }, 120);
  });
  $("filter").addEventListener("change", () => { app.chosen[app.view].filter = $("filter").value; app.refresh(); });
  $("sort").addEventListener("change", () => { app.chosen[app.view].order = $("sort").value; app.refresh(); });
  const tabs = Object.keys(views);
  for (const [place, name] of tabs.entries()) {
    $(`tab-${name}`).addEventListener("click", () => app.show(name));
    $(`tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(place + step + tabs.length) % tabs.length];
      app.show(next);
      $(`tab-${next}`).focus();
    });
  }
  $("download-json").addEventListener("click", () => download(decisionsJson(), "decisions.json", "application/json"));
  $("download-csv").addEventListener("click", () => download(decisionsCsv(), "decisions.csv", "text/csv"));
  document.addEventListener("keydown", pressed);
  let theme = null;
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    setTheme("light");
    views[app.view].list?.print();
  });
  addEventListener("afterprint", () => {
    setTheme(theme);
    views[app.view].list?.redraw();
  });
  decisions.listeners.push(() => {
    views[app.view]?.list?.redraw();
    if (app.view === "summary") app.refresh();
    drawComparison();
  });

  startSaving();
  app.show(about.clusters_total || !about.pairs_total ? "clusters" : "pairs");
  document.documentElement.dataset.ready = "true";
  requestAnimationFrame(() => setTimeout(() => {
    loadPictures();
    if (live === null) {
      views[app.view].list?.redraw();
      drawComparison();
    }
    document.documentElement.dataset.pictures = "true";
  }));
}

start();
