/* Pairs as a list; the current one large in the panel beside it. */

/* A second model doubts pairs below its own operating cosine, which is 0.40 on every model's scale. */
const SECOND_CUT = 0.4;

class PairView {
  constructor(container) {
    this.name = "pairs";
    this.noun = "pair";
    this.filters = [["all", "All pairs"], ["new", "New"], ["undecided", "Undecided"], ...Object.keys(VERDICTS).map((verdict) => [verdict, `Decided: ${verdict}`]),
      ...(pairs.second ? [["doubted", `Doubted by ${about.second_model}`], ["confirmed", `Confirmed by ${about.second_model}`]] : []),
      ...(pairs.samePhoto.includes(1) ? [["resaved", "Same photo re-saved"], ["other", "Two photos"]] : [])];
    this.orders = [["new", "New first"], ["high", "Most similar first"], ["low", "Least similar first"], ["name", "File name"]];
    this.list = new RowList(container, 84, "Pairs", (item, row) => this.render(item, row), () => this.compareCurrent());
    this.total = about.pairs_total;
    this.listed = pairs.a.length;
    this.both = about.symmetric ? 2 : 1;
  }

  refresh({ cut, matches, filter, order }) {
    const kept = [];
    const all = cut <= about.cosine_cut;
    for (let pair = 0; pair < pairs.a.length; pair++) {
      if (!all && pairs.cosine[pair] < cut) continue;
      if (matches && !matches[pairs.a[pair]] && !matches[pairs.b[pair]]) continue;
      if (filter !== "all" && !this.passes(pair, filter)) continue;
      kept.push(pair);
    }
    if (order === "new") kept.sort((p, q) => pairs.new[q] - pairs.new[p] || p - q);
    if (order === "low") kept.reverse();
    if (order === "name") {
      const paths = new Map(kept.map((pair) => [pair, pathOf(pairs.a[pair])]));
      kept.sort((p, q) => (paths.get(p) < paths.get(q) ? -1 : paths.get(p) > paths.get(q) ? 1 : p - q));
    }
    /* Each pair twice where both directions are listed: an odd item is the pair turned round. */
    this.list.set(this.both === 1 ? kept.map((pair) => 2 * pair) : kept.flatMap((pair) => [2 * pair, 2 * pair + 1]));
  }

  passes(pair, filter) {
    if (filter === "new") return pairs.new[pair];
    if (filter === "resaved") return pairs.samePhoto[pair];
    if (filter === "other") return !pairs.samePhoto[pair];
    if (filter === "doubted") return pairs.second[pair] < SECOND_CUT;
    if (filter === "confirmed") return pairs.second[pair] >= SECOND_CUT;
    const verdict = verdictOf(pairs.aFace[pair], pairs.bFace[pair]);
    return filter === "undecided" ? verdict === null : verdict === filter;
  }

  couple(item) {
    const pair = item >> 1;
    const [a, b] = [[pairs.aFace[pair], pairs.a[pair]], [pairs.bFace[pair], pairs.b[pair]]];
    const [[first, imageA], [second, imageB]] = item & 1 ? [b, a] : [a, b];
    return { a: first, b: second, imageA, imageB, cosine: pairs.cosine[pair] };
  }

  render(item, row) {
    const pair = item >> 1;
    const couple = this.couple(item);
    const verdict = verdictOf(couple.a, couple.b);
    const names = (image) => element("span", { class: "names" },
      nameOf(image), element("bdi", { class: "folder" }, folderOf(image)));
    row.append(element("article", { class: "pair" },
      facePicture(couple.a), facePicture(couple.b),
      element("div", { class: "both" }, names(couple.imageA), names(couple.imageB)),
      element("div", { class: "marks" },
        pairs.showsNew && pairs.new[pair] ? badge("new", "new") : null,
        pairs.samePhoto[pair] ? badge("same photo", "quiet") : null,
        pairs.second && pairs.second[pair] < SECOND_CUT ? badge("doubted", "warn") : null,
        verdict ? badge(VERDICTS[verdict], verdict) : null),
      element("div", { class: "number" }, element("strong", {}, score(couple.cosine)),
        element("span", { class: "facts" }, couple.cosine.toFixed(4)))));
  }

  compareCurrent() {
    const item = this.list.items[this.list.active];
    compare(item === undefined ? null : this.couple(item), item === undefined ? "No pair to show." : "Pair");
  }

  decide(verdict) {
    const item = this.list.items[this.list.active];
    if (item === undefined) return;
    const couple = this.couple(item);
    if (couple.a === couple.b) {
      toast("The files are byte-identical: there is nothing to decide");
      return;
    }
    decide([couple], verdict);
    app.advance();
  }
}

/* The number of the listed pair of two faces, null where there is none. */
let byFaces = null;
function listedPair(a, b) {
  if (byFaces === null) {
    byFaces = new Map();
    for (let pair = 0; pair < pairs.a.length; pair++) byFaces.set(keyOf(pairs.aFace[pair], pairs.bFace[pair]), pair);
  }
  return byFaces.get(keyOf(a, b)) ?? null;
}
