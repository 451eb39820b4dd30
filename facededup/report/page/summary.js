/* The run and its findings in figures and charts. */

class SummaryView {
  constructor(container) {
    this.name = "summary";
    this.container = container;
    this.noun = null;
  }

  refresh() {
    this.container.replaceChildren(this.figures(), this.charts());
  }

  figures() {
    const outcomes = about.images;
    const search = about.search;
    const figure = (value, label, note = "") => element("div", { class: "figure" },
      element("strong", {}, value), element("span", {}, label), element("span", { class: "facts" }, note));
    const expected = about.expected_false_pairs;
    return element("div", { class: "figures" },
      figure(count(outcomes.total), "images", `${count(outcomes.ok)} with a face`),
      figure(count(about.faces), "faces", `${about.model}, ${about.detector} detector`),
      figure(count(about.pairs_total), "pairs", `similarity ${about.threshold} or more`),
      figure(count(about.clusters_total), "clusters", `${about.clustering} linkage`.replace("components linkage", "connected components").replace("chinese-whispers linkage", "Chinese whispers")),
      expected === null ? null : figure(expected < 10 ? expected.toFixed(1) : count(Math.round(expected)), "false pairs to expect", "by the model's own curve"),
      figure(about.complete ? "exact" : `${(100 * search.recall).toFixed(2)}%`, about.complete ? "search" : "of pairs found", about.complete ? "every pair was compared" : "measured on a sample"),
      about.unsearched ? figure(count(about.unsearched), "not searched yet", "indexed since: run facededup find") : null,
      figure(count(decidedCount()), "decisions that hold", live ? "saved in the store" : "download them to keep them"));
  }

  charts() {
    const { histogram, cluster_sizes: sizes, months, dated_by: by } = page.analytics;
    const card = (title, note, ...content) => element("section", { class: "card" }, element("h2", {}, title), element("p", { class: "facts" }, note), ...content);
    const cards = [];
    const wide = (histogram.to - histogram.from) / histogram.counts.length;
    const at = (similarity) => (similarity - histogram.from) / (histogram.to - histogram.from);
    cards.push(card("Similarity of pairs", "All pairs of the findings. Many strangers near the threshold make a slope that rises to the left.",
      columnChart("Histogram of the similarity of pairs", histogram.counts.map((value, place) => {
        const low = histogram.from + place * wide;
        return { value, label: low.toFixed(2), title: `${low.toFixed(3)} to ${(low + wide).toFixed(3)}: ${plural(value, "pair")}`, kind: low + wide <= app.similarity ? "faint" : "" };
      }), [{ at: at(app.similarity), label: `threshold ${app.similarity.toFixed(3)}` }])));
    if (sizes.length) {
      cards.push(card("Size of clusters", "Images in a cluster. Heights are logarithmic.",
        columnChart("Number of clusters by size", sizes.map(([size, value]) => ({ value, label: String(size), title: `${plural(value, "cluster")} of ${plural(size, "image")}` })), [], { logarithmic: true })));
    }
    const outcomes = about.images;
    cards.push(card("Outcome of images", `${count(outcomes.total)} images in the store.`, lineBars([
      { label: "with a face", value: outcomes.ok }, { label: "no face", value: outcomes.no_face },
      { label: "several faces", value: outcomes.multiple_faces }, { label: "failed", value: outcomes.failed },
    ].map((row) => ({ ...row, text: count(row.value) })))));
    if (page.metrics) cards.push(this.time(card));
    if (months.length > 1) {
      const dated = by === "mtime" ? "the month of the file's last change" : by.startsWith("column:") ? `the date in the column ${shown(by.slice(7))}` : `the date in its path, by ${shown(by)}`;
      cards.push(card("Duplicates over time", `Images of a cluster that are not its oldest, by ${dated}.`,
        columnChart("Duplicates by month", months.map(({ month, images: all, duplicates }) => ({ value: duplicates, label: month, title: `${month}: ${count(duplicates)} of ${plural(all, "image")}` })))));
    }
    cards.push(this.folders(card));
    return element("div", { class: "charts" }, ...cards);
  }

  time(card) {
    const metrics = page.metrics;
    const stages = Object.entries(metrics.stages).filter(([, stage]) => stage.seconds > 0);
    const rate = metrics.images_per_second > 0 ? `${metrics.images_per_second.toFixed(1)} images/s. ` : "";
    return card("Where the time went", `${rate}${metrics.command} took ${metrics.seconds.toFixed(1)} s; stages of parallel workers add up.`,
      lineBars(stages.map(([label, stage]) => ({
        label, value: stage.seconds, text: `${stage.seconds.toFixed(2)} s${stage.per_second ? `, ${count(Math.round(stage.per_second))}/s` : ""}`,
      }))));
  }

  folders(card) {
    const { folders, folders_total: total } = page.analytics;
    if (!folders.length) return null;
    const row = ({ a, b, clusters: number }) => element("tr", {},
      element("td", {}, element("bdi", {}, folderName(`${a}/`))), element("td", {}, element("bdi", {}, a === b ? "(within)" : folderName(`${b}/`))),
      element("td", { class: "value" }, count(number)));
    const rows = folders.slice(0, 25);
    return card("People in two folders", `Clusters with images in both; ${rows.length < total ? `the first ${rows.length} of ` : ""}${plural(total, "couple")} of folders.`,
      element("table", {},
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Folder"), element("th", { scope: "col" }, "and"), element("th", { scope: "col", class: "value" }, "clusters"))),
        element("tbody", {}, ...rows.map(row))));
  }

  decide() {}
}
