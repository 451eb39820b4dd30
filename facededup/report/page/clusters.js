/* Clusters as cards: the faces side by side, the weakest link marked. */

const TILES = 60;

class ClusterView {
  constructor(container) {
    this.name = "clusters";
    this.noun = "cluster";
    this.filters = [["all", "All clusters"], ["new", "New"], ["undecided", "Undecided"], ["decided", "Decided"],
      ["bridged", "May be two people"]];
    this.orders = [["new", "New first"], ["size", "Largest first"], ["weak", "Weakest link first"],
      ["mean", "Least alike first"], ["name", "File name"]];
    this.marked = new Set();
    this.list = new RowList(container, 232, "Clusters", (group, row) => this.render(group, row), () => this.selected());
    this.groupedAt = null;
    this.total = about.clusters_total;
  }

  get listed() {
    return this.groups ? this.groups.cluster.length : 0;
  }

  refresh({ cut, matches, filter, order }) {
    const isRegrouped = this.groupedAt !== cut;
    if (isRegrouped) {
      this.groups = groupsAt(cut);
      this.groupedAt = cut;
      this.marked.clear();
    }
    const { cluster, node, size } = this.groups;
    let items = Array.from(cluster, (_, group) => group);
    if (matches) items = items.filter((group) => this.members(group).some((member) => memberImages(member).some((image) => matches[image])));
    if (filter === "new") items = items.filter((group) => clusters.new[cluster[group]]);
    if (filter === "undecided") items = items.filter((group) => this.verdict(group) === null);
    if (filter === "decided") items = items.filter((group) => this.verdict(group) !== null);
    if (filter === "bridged") items = items.filter((group) => this.members(group).some((member) => clusters.bridge[member]));
    const by = (value) => {
      const values = new Map(items.map((group) => [group, value(group)]));
      items.sort((a, b) => values.get(a) - values.get(b));
    };
    if (order === "new") by((group) => -clusters.new[cluster[group]]);
    if (order === "size") by((group) => -size[group]);
    if (order === "weak") by((group) => shapeOf(cluster[group], node[group]).lowest);
    if (order === "mean") by((group) => shapeOf(cluster[group], node[group]).mean);
    if (order === "name") {
      const names = new Map(items.map((group) => [group, pathOf(memberImages(this.members(group)[0])[0])]));
      items.sort((a, b) => (names.get(a) < names.get(b) ? -1 : 1));
    }
    this.list.set(items, isRegrouped);
  }

  members(group) {
    return membersOf(this.groups.cluster[group], this.groups.node[group]);
  }

  shape(group) {
    return shapeOf(this.groups.cluster[group], this.groups.node[group]);
  }

  get current() {
    return this.list.items[this.list.active];
  }

  /* A couple of members as the panel and the log take it. */
  couple(first, second, cosine = null) {
    const a = clusters.members[first];
    const b = clusters.members[second];
    const pair = listedPair(a, b);
    return { a, b, imageA: memberImages(first)[0], imageB: memberImages(second)[0], cosine: cosine ?? (pair === null ? null : pairs.cosine[pair]) };
  }

  /* What holds for a whole group: same if everyone is tied to the medoid, else the first verdict that is not same. */
  verdict(group) {
    if (!decidedCount()) return null;
    const { medoid } = this.shape(group);
    let same = 0;
    const others = this.members(group).filter((member) => member !== medoid);
    for (const member of others) {
      const verdict = verdictOf(clusters.members[medoid], clusters.members[member]);
      if (verdict === "same") same++;
      else if (verdict !== null) return verdict;
    }
    return same && same === others.length ? "same" : same ? "partly" : null;
  }

  render(group, row) {
    const cluster = this.groups.cluster[group];
    const members = this.members(group);
    const shape = this.shape(group);
    const weak = new Set(shape.weakest || []);
    const verdict = this.verdict(group);
    const isCut = this.groups.node[group] !== WHOLE;
    const size = this.groups.size[group];
    const couple = members.length === 2;
    row.append(element("article", { class: "card" },
      element("div", { class: "head" },
        element("strong", {}, plural(size, "image")),
        clusters.showsNew && clusters.new[cluster] ? badge("new", "new") : null,
        verdict ? badge(verdict === "partly" ? "partly same" : VERDICTS[verdict], verdict) : null,
        isCut ? badge("part of a cluster", "quiet") : null,
        members.some((member) => clusters.bridge[member]) ? badge("may be two people", "warn") : null,
        element("span", { class: "facts" },
          members.length === 1 ? "byte-identical files" : couple ? `similarity ${score(shape.lowest)}`
            : `weakest link ${score(shape.lowest)} · mean ${score(shape.mean)}`),
        element("span", { class: "spacer" }),
        element("code", { class: "facts" }, clusters.id[cluster])),
      element("div", { class: "strip", tabIndex: 0, role: "group", "aria-label": "Faces of this cluster" },
        ...members.slice(0, TILES).map((member, place) => this.tile(group, member, place, weak.has(member) && !couple, member === shape.medoid && !couple)),
        members.length > TILES ? element("span", { class: "more" }, `and ${count(members.length - TILES)} more`) : null)));
  }

  tile(group, member, place, isWeak, isMedoid) {
    const face = clusters.members[member];
    const copies = memberImages(member);
    const tile = element("button", {
      type: "button", class: "tile", title: shown(Array.from(copies.subarray(0, 10), pathOf).join("\n").replaceAll("\n", " ⏎ ")),
      "aria-pressed": String(this.marked.has(member)),
      on: { click: () => this.toggle(group, member) },
    },
    facePicture(face, ""),
    nameOf(copies[0]),
    element("bdi", { class: "folder" }, folderOf(copies[0])));
    if (isWeak) tile.append(badge("weakest link", "warn over"));
    else if (isMedoid) tile.append(badge("most typical", "quiet over"));
    if (copies.length > 1) tile.append(badge(`${copies.length} files`, "quiet under"));
    if (place < 9) tile.dataset.key = String(place + 1);
    return tile;
  }

  toggle(group, member) {
    const place = this.list.items.indexOf(group);
    if (place !== this.list.active) this.list.activate(place, false);
    if (this.marked.has(member)) this.marked.delete(member);
    else this.marked.add(member);
    this.list.redraw();
    this.compareCurrent();
  }

  mark(number) {
    const group = this.current;
    const member = group === undefined ? undefined : this.members(group)[number - 1];
    if (member !== undefined) this.toggle(group, member);
  }

  selected() {
    if (this.marked.size) {
      this.marked.clear();
      this.list.redraw();
    }
    this.compareCurrent();
  }

  compareCurrent() {
    const group = this.current;
    if (group === undefined) {
      compare(null, "No cluster to show.");
      return;
    }
    const members = this.members(group);
    const shape = this.shape(group);
    const marked = members.filter((member) => this.marked.has(member));
    const ofMany = members.length > 2;
    if (marked.length === 2) compare(this.couple(marked[0], marked[1]), "Marked faces", { ofMany });
    else if (marked.length === 1 && marked[0] !== shape.medoid) compare(this.couple(shape.medoid, marked[0]), "With the most typical face", { ofMany });
    else if (shape.weakest) compare(this.couple(...shape.weakest, shape.lowest), ofMany ? "Weakest link" : "The two faces", { ofMany });
    else if (members.length > 1) compare(this.couple(members[0], members[1]), "The first two faces", { ofMany });
    else compare(this.twins(members[0]), "Byte-identical files");
  }

  twins(member) {
    const face = clusters.members[member];
    const [imageA, imageB] = memberImages(member);
    return { a: face, b: face, imageA, imageB, cosine: 1 };
  }

  decide(verdict) {
    const group = this.current;
    if (group === undefined) return;
    const members = this.members(group);
    const marked = members.filter((member) => this.marked.has(member));
    const rest = members.filter((member) => !this.marked.has(member));
    const { medoid, weakest, lowest } = this.shape(group);
    let couples;
    if (members.length === 1) {
      toast("The files are byte-identical: there is nothing to decide");
      return;
    }
    if (members.length === 2) couples = [this.couple(members[0], members[1], weakest ? lowest : null)];
    else if (verdict === "same") {
      const some = marked.length > 1 ? marked : members;
      const centre = some.includes(medoid) ? medoid : some[0];
      couples = some.filter((member) => member !== centre).map((member) => this.couple(centre, member));
    } else if (!marked.length || !rest.length) {
      if (verdict !== "later") {
        toast("Mark the faces that do not belong (click, or 1 to 9), then decide");
        return;
      }
      couples = members.filter((member) => member !== medoid).map((member) => this.couple(medoid, member));
    } else couples = marked.flatMap((member) => rest.map((other) => this.couple(other, member)));
    decide(couples, verdict);
    app.advance();
  }
}
