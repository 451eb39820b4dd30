/* Images without an embedding, and why. */

class UnencodedView {
  constructor(container) {
    this.name = "unencoded";
    this.noun = "image";
    const there = page.unencoded.outcomes.map((name, code) => [name, code]).filter(([, code]) => unencoded.outcome.includes(code));
    this.filters = [["all", "All outcomes"], ...there.map(([name, code]) => [String(code), name])];
    this.orders = [["name", "File name"], ["reason", "Reason"]];
    this.list = new RowList(container, 84, "Images that were not encoded", (item, row) => this.render(item, row), () => compare(null, "These images have no embedding: there is nothing to compare."));
    this.total = about.unencoded_total;
    this.listed = unencoded.image.length;
  }

  refresh({ matches, filter, order }) {
    const kept = [];
    for (let item = 0; item < unencoded.image.length; item++) {
      if (matches && !matches[unencoded.image[item]]) continue;
      if (filter === "all" || unencoded.outcome[item] === Number(filter)) kept.push(item);
    }
    if (order === "reason") kept.sort((a, b) => unencoded.reason[a] - unencoded.reason[b] || a - b);
    this.list.set(kept);
  }

  render(item, row) {
    const image = unencoded.image[item];
    const reason = shown(page.unencoded.reasons[unencoded.reason[item]]);
    row.append(element("article", { class: "pair" },
      picture(images.content[image], 0, "", "face"),
      element("div", { class: "both" }, element("span", { class: "names" },
        nameOf(image),
        element("bdi", { class: "folder" }, folderOf(image)))),
      element("div", { class: "reason" },
        badge(page.unencoded.outcomes[unencoded.outcome[item]].replaceAll("_", " ").toLowerCase(), "quiet"),
        element("bdi", { class: "facts", title: reason }, reason))));
  }

  decide() {
    toast("There is nothing to decide here");
  }
}
