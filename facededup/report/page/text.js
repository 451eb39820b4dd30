/* Elements and text. Data gets into the page as text nodes and properties only, never as markup. */

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name === "on") for (const [event, handler] of Object.entries(value)) made.addEventListener(event, handler);
    else if (name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/* Names of files as they can be read: what is invisible or turns the writing direction is spelt out. */
function shown(text) {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
    (letter) => {
      const code = letter.charCodeAt(0);
      if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code - 0xdc00).toString(16)}`;
      return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
    },
  );
}

/* A file's name, which may be broken where its parts meet. */
function nameOf(image) {
  const parts = shown(images.name[image]).split(/(?<=[_\-.])/);
  return element("bdi", { class: "name" }, ...parts.flatMap((part) => [part, document.createElement("wbr")]).slice(0, -1));
}

const count = (number) => number.toLocaleString("en");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const score = (cosine) => similarityOf(cosine).toFixed(3);

function day(seconds) {
  const date = new Date(seconds * 1000);
  return seconds > 0 && !Number.isNaN(date.getTime()) ? date.toISOString().slice(0, 10) : "";
}

function fileSize(bytes) {
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return bytes >= 1e3 ? `${Math.round(bytes / 1e3)} kB` : `${bytes} B`;
}

/* The folders without what all of them begin with. */
const commonFolder = (() => {
  const all = images.folders;
  if (!all.length) return "";
  let end = all[0].length;
  for (const folder of all) {
    let same = 0;
    while (same < end && folder[same] === all[0][same]) same++;
    end = same;
  }
  return all[0].slice(0, all[0].lastIndexOf("/", end - 1) + 1);
})();
function folderName(folder) {
  return shown(folder.startsWith(commonFolder) ? folder.slice(commonFolder.length) : folder).replace(/\/$/, "") || "·";
}
const folderOf = (image) => folderName(images.folders[images.folder[image]]);

function badge(text, kind) {
  return element("span", { class: `badge ${kind}` }, text);
}

/* A face or a photo; a grey square where the file is gone or has changed. */
function picture(content, place, text, kind) {
  const address = pictureOf(content, place);
  const frame = element("span", { class: `picture ${kind}` });
  if (address === null) {
    frame.classList.add("missing");
    frame.title = "The image is not there any more, or has changed.";
    return frame;
  }
  const image = element("img", { alt: text, src: address, draggable: false, decoding: "async" });
  image.addEventListener("error", () => {
    image.remove();
    frame.classList.add("missing");
  });
  frame.append(image);
  return frame;
}
const facePicture = (face, text = "") => picture(faces.content[face], facePlace[face], text, "face");

function toast(text) {
  const line = document.getElementById("toast");
  line.textContent = text;
  line.classList.add("visible");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => line.classList.remove("visible"), 2500);
}
