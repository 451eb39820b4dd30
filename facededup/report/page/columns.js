"use strict";
/* The data of the page: columns of numbers, base64 of little-endian arrays (see docs/report.md). */

const page = JSON.parse(document.getElementById("data").textContent);
const about = page.about;
const live = page.live;

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}
const u8 = bytesOf;
const u32 = (text) => new Uint32Array(bytesOf(text).buffer);
const i32 = (text) => new Int32Array(bytesOf(text).buffer);
const f32 = (text) => new Float32Array(bytesOf(text).buffer);
const f64 = (text) => new Float64Array(bytesOf(text).buffer);

const images = {
  folders: page.images.folders, folder: u32(page.images.folder), name: page.images.name,
  content: u32(page.images.content), modified: f64(page.images.modified), bytes: f64(page.images.bytes),
  group: page.images.group && u32(page.images.group), /* null where nothing groups them */
};
const contents = {
  digest: u8(page.contents.digest), width: i32(page.contents.width), height: i32(page.contents.height),
};
const faces = {
  content: u32(page.faces.content), number: u32(page.faces.number), box: i32(page.faces.box),
  quality: f32(page.faces.quality), /* score, size, sharpness, frontality, brightness; NaN where not measured */
};
const pairs = {
  a: u32(page.pairs.a), b: u32(page.pairs.b), aFace: u32(page.pairs.a_face), bFace: u32(page.pairs.b_face),
  cosine: f64(page.pairs.cosine), new: u8(page.pairs.new), samePhoto: u8(page.pairs.same_photo),
  second: page.pairs.second && f64(page.pairs.second), /* null without a second model, NaN where it says nothing */
};
const clusters = {
  id: page.clusters.id, offsets: u32(page.clusters.offsets), members: u32(page.clusters.members),
  imageOffsets: u32(page.clusters.image_offsets), images: u32(page.clusters.images), new: u8(page.clusters.new),
  lowest: f64(page.clusters.lowest), mean: f64(page.clusters.mean), medoid: u32(page.clusters.medoid),
  bridge: u8(page.clusters.bridge),
  left: u32(page.clusters.tree_left), right: u32(page.clusters.tree_right),
  height: f64(page.clusters.tree_height), treeLowest: f64(page.clusters.tree_lowest),
  treeMean: f64(page.clusters.tree_mean), weakest: u32(page.clusters.tree_weakest),
};
const unencoded = {
  image: u32(page.unencoded.image), outcome: u8(page.unencoded.outcome), reason: u32(page.unencoded.reason),
};

const pathOf = (image) => images.folders[images.folder[image]] + images.name[image];
const similarityOf = (cosine) => 1 - 0.6 * (1 - cosine) / (1 - about.operating_cosine);
const cosineOf = (similarity) => 1 - (1 - similarity) * (1 - about.operating_cosine) / 0.6;

/* A badge says nothing where everything is new. */
const showsNew = (column) => column.includes(1) && column.includes(0);
pairs.showsNew = showsNew(pairs.new);
clusters.showsNew = showsNew(clusters.new);

/* The place of each face among the pictures of its content: 0 is the photo. */
const facePlace = new Uint32Array(faces.content.length);
{
  const seen = new Uint32Array(contents.width.length);
  for (let face = 0; face < facePlace.length; face++) facePlace[face] = ++seen[faces.content[face]];
}

let pictures = null;
/* The pictures are by far the largest part: they are parsed after the page shows. */
function loadPictures() {
  if (live === null) pictures = JSON.parse(document.getElementById("pictures").textContent);
}

/* The address of a picture, null for one that cannot be shown (yet). */
function pictureOf(content, place) {
  if (live !== null) return `${live.base}picture/${content}/${place}`;
  const picture = pictures && pictures.contents[content][place];
  if (!picture) return null;
  if (picture === 1) return `${pictures.base}${Math.floor(content / 1000)}/${content}-${place}.jpg`;
  return `data:image/jpeg;base64,${picture}`;
}
