/* The panel on the right: two faces as large as there is room for, their photos, and what is known of them. */

const comparing = { couple: null, title: "", ofMany: false };

/* couple: {a, b, imageA, imageB, cosine}, cosine null where the page does not know it; null empties the panel.
   ofMany: the two are part of a cluster, on which the keys decide. */
function compare(couple, title = "", { ofMany = false } = {}) {
  Object.assign(comparing, { couple, title, ofMany });
  drawComparison();
}

function drawComparison() {
  const panel = document.getElementById("compare");
  const { couple, title, ofMany } = comparing;
  if (couple === null) {
    panel.replaceChildren(element("p", { class: "empty" }, title || "Select two faces to compare them."));
    return;
  }
  const verdict = verdictOf(couple.a, couple.b);
  panel.replaceChildren(...[
    element("h2", {}, title, verdict ? badge(VERDICTS[verdict], verdict) : null),
    element("div", { class: "sides" }, facePicture(couple.a, "first face"), facePicture(couple.b, "second face")),
    scoreLine(couple.cosine),
    secondLine(couple),
    couple.a === couple.b ? element("p", { class: "facts" }, "The files are byte-identical.") : verdictButtons(couple, ofMany),
    ofMany && couple.a !== couple.b ? element("p", { class: "facts keys" }, "The buttons decide on these two. The keys s, d, l and u decide on the whole cluster, or on its marked faces.") : null,
    element("div", { class: "sides" }, photoOf(couple.a, couple.imageA), photoOf(couple.b, couple.imageB)),
  ].filter(Boolean));
}

function photoOf(face, image) {
  const content = faces.content[face];
  const name = shown(images.name[image]);
  const width = contents.width[content];
  const height = contents.height[content];
  const photo = picture(content, 0, `photo ${name}`, "photo");
  if (width > 0 && height > 0) {
    const [x, y, w, h] = boxOf(face);
    const outline = element("span", { class: "outline" });
    Object.assign(outline.style, {
      left: `${100 * x / width}%`, top: `${100 * y / height}%`,
      width: `${100 * w / width}%`, height: `${100 * h / height}%`,
    });
    photo.style.aspectRatio = `${width} / ${height}`;
    photo.append(outline);
  }
  const facts = [
    width > 0 ? `${width} × ${height} pixels` : null,
    images.bytes[image] > 0 ? fileSize(images.bytes[image]) : null,
    day(images.modified[image]) || null,
    `face ${boxOf(face)[2]} pixels`,
    qualityOf(face),
  ];
  return element("figure", { class: "side" },
    photo,
    element("figcaption", {},
      nameOf(image),
      element("bdi", { class: "folder" }, folderOf(image)),
      element("span", { class: "facts" }, facts.filter(Boolean).join(" · "))));
}

/* The overall quality of a face, and what it lacks most; see docs/decisions.md. */
function qualityOf(face) {
  const [whole, ...parts] = faces.quality.subarray(5 * face, 5 * face + 5);
  if (Number.isNaN(whole)) return null;
  const names = ["size", "sharpness", "frontality", "brightness"];
  const worst = parts.indexOf(Math.min(...parts));
  return `quality ${whole.toFixed(2)}${parts[worst] < 0.5 ? ` (low ${names[worst]})` : ""}`;
}

function scoreLine(cosine) {
  if (cosine === null) {
    return element("p", { class: "facts" }, "These two are not a listed pair: below the threshold, or beyond the limit of the list.");
  }
  const similarity = similarityOf(cosine);
  const scale = element("div", { class: "scale", "aria-hidden": "true" }, element("i"), element("b"));
  scale.firstChild.style.width = `${100 * Math.min(Math.max(similarity, 0), 1)}%`;
  scale.lastChild.style.left = `${100 * Math.min(Math.max(app.similarity, 0), 1)}%`;
  return element("div", { class: "scores" },
    element("p", {}, element("strong", {}, similarity.toFixed(3)), " similarity",
      element("span", { class: "facts" }, `cosine ${cosine.toFixed(4)}`)),
    scale);
}

/* What the second model of `find --confirm-model` says of the two, if it was asked. */
function secondLine({ a, b }) {
  const pair = listedPair(a, b);
  if (!pairs.second || pair === null || Number.isNaN(pairs.second[pair])) return null;
  const second = pairs.second[pair];
  return element("p", { class: "second" }, element("strong", {}, second.toFixed(3)), ` second look, ${about.second_model}`,
    second < SECOND_CUT ? badge("doubted", "warn") : badge("confirmed", "same"));
}

function verdictButtons(couple, ofMany) {
  return element("div", { class: "verdicts" }, ...Object.entries(KEYS).map(([key, verdict]) =>
    element("button", {
      type: "button", class: `verdict ${verdict}`, "aria-pressed": String(verdictOf(couple.a, couple.b) === verdict),
      on: { click: () => decide([couple], verdict) },
    }, ofMany ? null : element("kbd", {}, key), verdict === "later" ? "unsure" : verdict)));
}
