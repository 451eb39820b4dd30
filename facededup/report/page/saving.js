/* Where decisions are kept: in this browser, and with facededup review in the store. */

const saving = { unsaved: [], busy: false, revision: 0, failed: false };
const STORAGE = `facededup ${live === null ? "report" : "review"} ${about.store} ${about.created}`;
/* A browser may forbid storage to a page from a file; the page works without. */
function stored(value) {
  try {
    if (value === undefined) return JSON.parse(localStorage.getItem(STORAGE) || "[]");
    localStorage.setItem(STORAGE, JSON.stringify(value));
    return true;
  } catch {
    return value === undefined ? [] : false;
  }
}

function keepDecisions(entries) {
  if (live !== null) {
    saving.unsaved.push(...entries.map(exported));
    stored(saving.unsaved);
    save();
  } else saving.kept = stored(decisions.entries);
  showSaved();
}

function showSaved() {
  const line = document.getElementById("saved");
  const number = decisions.entries.length;
  for (const id of ["download-json", "download-csv"]) document.getElementById(id).disabled = number === 0;
  if (live === null) line.textContent = number ? `${plural(number, "decision")}, ${saving.kept === false ? "not kept: download them" : "kept in this browser"}` : "";
  else line.textContent = saving.unsaved.length ? `${saving.unsaved.length} not saved yet` : number ? "all saved in the store" : "";
}

function notice(text) {
  const line = document.getElementById("notice");
  line.textContent = text;
  line.hidden = !text;
}

/* The faces of this page by what the store calls them: hex digest and box. */
let known = null;
function faceBy(digest, box) {
  if (known === null) {
    known = new Map();
    for (let face = 0; face < faces.content.length; face++) known.set(`${hex(faces.content[face])} ${boxOf(face)}`, face);
  }
  return known.get(`${digest} ${box}`);
}

/* Decisions from elsewhere: another tab, or this browser's storage. */
function takeOver(entries) {
  let taken = 0;
  for (const { a_digest: digestA, a_box: boxA, b_digest: digestB, b_box: boxB, verdict } of entries) {
    const a = faceBy(digestA, boxA);
    const b = faceBy(digestB, boxB);
    if (a === undefined || b === undefined) continue;
    apply({ a, b, verdict });
    taken++;
  }
  if (taken) for (const listener of decisions.listeners) listener();
}

/* Sends what is not saved yet, and asks what other tabs decided. */
async function save() {
  if (saving.busy || live === null) return;
  saving.busy = true;
  const sent = saving.unsaved.slice();
  try {
    const answer = await fetch(`${live.base}decisions`, {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ revision: saving.revision, entries: sent }),
    });
    const result = await answer.json();
    if (answer.ok) {
      saving.unsaved.splice(0, sent.length);
      stored(saving.unsaved);
      saving.revision = result.revision;
      takeOver(result.entries);
      notice("");
    } else notice(result.error);
  } catch {
    notice("facededup review does not answer. What you decide is kept in this browser and saved when it is back on this address.");
  }
  saving.busy = false;
  showSaved();
  if (saving.unsaved.length > sent.length) save();
}

function startSaving() {
  if (live === null) {
    for (const entry of stored()) {
      apply(entry);
      decisions.entries.push(entry);
    }
  } else {
    saving.revision = live.revision;
    saving.unsaved = stored();
    takeOver(saving.unsaved);
    save();
    setInterval(save, 2000);
  }
  showSaved();
  addEventListener("beforeunload", (event) => {
    if (saving.unsaved.length || (saving.kept === false && decisions.entries.length)) event.preventDefault();
  });
}
