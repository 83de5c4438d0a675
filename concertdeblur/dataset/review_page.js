"use strict";
const $ = id => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token") || "";
const address = (path, more = {}) => path + "?" + new URLSearchParams({...more, token});
let frames = [], types = [], shown = [], at = 0, busy = false;

const typeOf = frame => (frame.review && frame.review.shot_type) || frame.shot_type;
function say(text, bad = false) { $("state").textContent = text; $("state").className = bad ? "bad" : ""; }
function clock(s) { const m = Math.floor(s / 60); return m + ":" + (s - 60 * m).toFixed(2).padStart(5, "0"); }

function filter(keepId) {
  const type = $("by-type").value, most = Number($("by-confidence").value), open = $("by-open").checked;
  shown = frames.filter(f => (!type || typeOf(f) === type) && f.confidence <= most && (!open || !f.review || f.frame_id === keepId));
  const found = shown.findIndex(f => f.frame_id === keepId);
  at = found >= 0 ? found : Math.min(at, Math.max(0, shown.length - 1));
  draw();
}
function draw() {
  const done = frames.filter(f => f.review).length, frame = shown[at];
  $("bar").max = Math.max(1, frames.length); $("bar").value = done;
  $("count").textContent = done + " of " + frames.length + " reviewed";
  $("place").textContent = shown.length ? (at + 1) + " / " + shown.length : "";
  $("picture").hidden = !frame;
  for (const b of document.querySelectorAll("#types button, #keep, #drop")) b.disabled = !frame;
  if (!frame) { $("suggestion").textContent = "No frame fits the filter."; $("about").textContent = ""; return; }
  $("picture").src = address("picture", {frame_id: frame.frame_id});
  $("picture").alt = "Frame of " + frame.source + " at " + clock(frame.timestamp_s);
  const by = frame.shot_type_by === "review" ? "Reviewed before: " : "Suggestion: ";
  $("suggestion").textContent = by + frame.shot_type + (frame.shot_type_by === "review" ? "" : " (confidence " + frame.confidence.toFixed(2) + ")") + (frame.reason ? ": " + frame.reason : "");
  $("about").textContent = frame.source + ", " + clock(frame.timestamp_s) + ", sharpness " + frame.sharpness.toFixed(2);
  const r = frame.review;
  say(!r ? "Not yet reviewed" : r.keep ? "Kept" + (r.shot_type ? " as " + r.shot_type : "") : "Dropped");
  types.forEach((t, n) => {
    const b = $("types").children[n];
    b.setAttribute("aria-pressed", String(!!(r && r.keep && typeOf(frame) === t.name)));
    b.classList.toggle("suggested", frame.shot_type === t.name);
  });
  $("keep").setAttribute("aria-pressed", String(!!(r && r.keep)));
  $("drop").setAttribute("aria-pressed", String(!!(r && !r.keep)));
}
async function send(path, body) {
  if (busy) return null;
  busy = true;
  try {
    const answer = await fetch(address(path), {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body || {})});
    const told = await answer.json();
    if (!answer.ok) { say("Not saved: " + (told.error || answer.status), true); return null; }
    return told;
  } catch (_) { say("Not saved: the server does not answer", true); return null; } finally { busy = false; }
}
async function decide(keep, type) {
  const frame = shown[at];
  if (!frame) return;
  const told = await send("decide", {frame_id: frame.frame_id, keep, shot_type: type});
  if (!told) return;
  frame.review = told.review;
  const next = shown[at + 1];
  if (next) filter(next.frame_id);
  else { filter(frame.frame_id); say((shown.length ? $("state").textContent + "; this" : "This") + " was the last frame"); }
}
async function undo() {
  const told = await send("undo");
  if (!told) return;
  if (!told.frame_id) { say("Nothing to undo"); return; }
  const frame = frames.find(f => f.frame_id === told.frame_id);
  frame.review = told.review;
  filter(frame.frame_id);
  say("Undone");
}
function step(by) { if (shown.length) { at = Math.max(0, Math.min(shown.length - 1, at + by)); draw(); } }
function keep() { const f = shown[at]; if (f) decide(true, typeOf(f) === "unknown" ? null : typeOf(f)); }

$("keep").onclick = keep; $("drop").onclick = () => decide(false, null); $("undo").onclick = undo;
$("back").onclick = () => step(-1); $("next").onclick = () => step(1);
for (const id of ["by-type", "by-confidence", "by-open"]) $(id).onchange = () => { at = 0; filter(null); };
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && event.key.length === 1) return;
  const on = event.target.tagName, key = event.key.toLowerCase();
  if (on === "SELECT") return;
  if (key === "enter" && on === "BUTTON") return;
  const n = Number(key);
  if (n >= 1 && n <= types.length) decide(true, types[n - 1].name);
  else if (key === "enter") keep();
  else if (key === "x") decide(false, null);
  else if (key === "u") undo();
  else if (key === "arrowleft") step(-1);
  else if (key === "arrowright") step(1);
  else return;
  event.preventDefault();
});
(async () => {
  try {
    const told = await (await fetch(address("frames"))).json();
    frames = told.frames; types = told.types;
  } catch (_) { say("The frames cannot be loaded: the server does not answer", true); return; }
  types.forEach((t, n) => {
    const b = document.createElement("button"), name = document.createElement("b"), small = document.createElement("small"), key = document.createElement("kbd");
    name.textContent = t.name; small.textContent = t.title; key.textContent = n + 1;
    b.append(name, small, key); b.onclick = () => decide(true, t.name); $("types").append(b);
    $("by-type").add(new Option(t.name + " " + t.title, t.name));
  });
  const first = frames.find(f => !f.review);
  filter(first ? first.frame_id : null);
})();
