/* What the analyst decided: a log that only grows, and what holds now because of it. */

const VERDICTS = { same: "same", different: "different", "look-alike": "look-alike", later: "later" };
const KEYS = { s: "same", d: "different", l: "look-alike", u: "later" };
const FIELDS = ["a_digest", "a_box", "b_digest", "b_box", "verdict", "who", "at", "a_path", "b_path", "similarity",
  "cosine", "model"];

const decisions = {
  entries: [], /* made in this page: {a, b, imageA, imageB, verdict, who, at, cosine}; faces and images by number */
  times: new Map(), /* of two faces: when they were decided on last, in seconds since 1970 */
  holds: new Map(), /* of two faces: their verdicts that were not undone, the last one holds */
  actions: [], /* what one key press decided, for undo */
  listeners: [],
};

const keyOf = (a, b) => Math.min(a, b) * faces.content.length + Math.max(a, b);

function verdictOf(a, b) {
  const stack = decisions.holds.get(keyOf(a, b));
  return stack && stack.length ? stack[stack.length - 1] : null;
}

function apply(entry) {
  const key = keyOf(entry.a, entry.b);
  const stack = decisions.holds.get(key) || [];
  if (entry.verdict === "undo") stack.pop();
  else stack.push(entry.verdict);
  decisions.holds.set(key, stack);
}

/* Couples are {a, b, imageA, imageB, cosine}; all are decided, and undone, together. */
function decide(couples, verdict) {
  if (!couples.length) return;
  record(couples, verdict);
  decisions.actions.push(couples);
  toast(couples.length > 1 ? `${verdict} (${plural(couples.length, "pair")})` : verdict);
}

function undo() {
  const couples = decisions.actions.pop();
  if (!couples) {
    toast("nothing to undo");
    return;
  }
  record(couples, "undo");
  toast("undone");
}

function record(couples, verdict) {
  const now = Math.floor(Date.now() / 1000);
  const who = document.getElementById("who").value.trim();
  const entries = couples.map((couple) => {
    const key = keyOf(couple.a, couple.b);
    /* Never twice within one second: what is alike in all counts as one entry that was sent again. */
    const at = Math.max(now, (decisions.times.get(key) || 0) + 1);
    decisions.times.set(key, at);
    return { ...couple, verdict, who, at };
  });
  for (const entry of entries) {
    apply(entry);
    decisions.entries.push(entry);
  }
  keepDecisions(entries);
  for (const listener of decisions.listeners) listener();
}

function hex(content) {
  let text = "";
  for (let i = 32 * content; i < 32 * content + 32; i++) text += contents.digest[i].toString(16).padStart(2, "0");
  return text;
}
const boxOf = (face) => Array.from(faces.box.subarray(4 * face, 4 * face + 4));

/* An entry as docs/decisions.md describes it. */
function exported(entry) {
  return {
    a_digest: hex(faces.content[entry.a]), a_box: boxOf(entry.a),
    b_digest: hex(faces.content[entry.b]), b_box: boxOf(entry.b),
    verdict: entry.verdict, who: entry.who, at: entry.at,
    a_path: pathOf(entry.imageA), b_path: pathOf(entry.imageB),
    similarity: entry.cosine === null ? null : similarityOf(entry.cosine), cosine: entry.cosine, model: about.model,
  };
}

function decisionsJson() {
  const lines = decisions.entries.map((entry) => JSON.stringify(exported(entry)));
  /* Bytes of a path that are not UTF-8 are lone surrogates, which JSON.stringify escapes. */
  return [`{"schema": "facededup/decisions/1",\n"decisions": [\n${lines.join(",\n")}\n]}\n`];
}

function decisionsCsv() {
  const quoted = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const rows = decisions.entries.map((entry) => {
    const values = exported(entry);
    return FIELDS.map((field) => quoted(field.endsWith("_box") ? JSON.stringify(values[field]) : values[field])).join(",");
  });
  return fileSystemBytes([FIELDS.join(","), ...rows, ""].join("\n"));
}

/* UTF-8, but bytes of file names that are not go out as they came in. */
function fileSystemBytes(text) {
  const encoder = new TextEncoder();
  return text.split(/((?<![\ud800-\udbff])[\udc80-\udcff])/).map((part) =>
    part.length === 1 && part >= "\udc80" && part <= "\udcff"
      ? new Uint8Array([part.charCodeAt(0) - 0xdc00])
      : encoder.encode(part));
}

function download(parts, name, kind) {
  const address = URL.createObjectURL(new Blob(parts, { type: kind }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function decidedCount() {
  let number = 0;
  for (const stack of decisions.holds.values()) number += stack.length > 0;
  return number;
}

for (const [a, b, verdict] of page.decisions) apply({ a, b, verdict });
