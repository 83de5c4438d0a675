// The page: what the studio tells, the list of clips, and what is dropped here.
import {Panel} from "./clip.js";
import * as words from "./words.js";

const $ = id => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token") || "";
const address = (path, more = {}) => path + "?" + new URLSearchParams({...more, token});
const SILENCE_MS = 4000;
let told = {clips: [], has_choice: true}, chosen = "", uploads = [], source = null, lostTimer = 0;
let states = new Map();

async function ask(path, body = {}, method = "POST") {
  try {
    const request = body === null ? {method} : {method, headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
    const answer = await fetch(address(path), request), made = await answer.json();
    if (answer.ok) { if (path !== "api/check") refuse(""); return made || {}; } // other files may have been refused
    refuse(typeof made.error === "string" ? made.error : "The studio did not understand that.");
  } catch { lost(); }
  return null;
}

function refuse(text) { $("refused").hidden = !text; $("refused").textContent = text; }
function say(text) { $("said").textContent = text; }
function lost() { $("lost").hidden = false; }

const panel = new Panel(ask, address);

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(address("api/events"));
  source.onmessage = event => { clearTimeout(lostTimer); lostTimer = 0; $("lost").hidden = true; take(JSON.parse(event.data)); };
  source.onerror = () => { if (!lostTimer) lostTimer = setTimeout(lost, SILENCE_MS); if (source && source.readyState === EventSource.CLOSED) again(); };
  source.addEventListener("closed", () => { lost(); again(); });
}
// a browser keeps few connections to one server: tabs that nobody sees let go of theirs
function silent() { if (source) source.close(); source = null; }
function again() { silent(); setTimeout(listen, 1500); }
document.addEventListener("visibilitychange", () => document.hidden ? silent() : listen());
addEventListener("pagehide", silent);

function take(state) {
  told = state;
  $("qualities").hidden = !state.has_choice;
  if (!told.clips.some(clip => clip.id === chosen)) chosen = told.clips.length ? told.clips[told.clips.length - 1].id : "";
  for (const clip of told.clips) {
    const before = states.get(clip.id);
    if (before !== undefined && before !== clip.state) say(`${clip.name}: ${words.state(clip)}${clip.error ? ". " + clip.error : ""}`);
  }
  states = new Map(told.clips.map(clip => [clip.id, clip.state]));
  draw();
}

function draw() {
  const hasAny = told.clips.length > 0 || uploads.length > 0;
  document.querySelector(".page").classList.toggle("has-clips", hasAny);
  $("list-title").hidden = !hasAny;
  drawList();
  panel.show(told.clips.find(clip => clip.id === chosen) || null);
}

function drawList() {
  const list = $("list"), rows = new Map([...list.children].map(row => [row.dataset.id, row]));
  const ids = [...told.clips.map(clip => clip.id), ...uploads.map(upload => upload.id)];
  for (const [id, row] of rows) if (!ids.includes(id)) row.remove();
  for (const clip of told.clips) drawClip(clip, rows.get(clip.id) || newRow(clip.id, clipRow));
  for (const upload of uploads) drawUpload(upload, rows.get(upload.id) || newRow(upload.id, uploadRow));
}

function newRow(id, fill) {
  const row = document.createElement("li");
  row.dataset.id = id;
  fill(row, id);
  $("list").append(row);
  return row;
}

function clipRow(row, id) {
  row.innerHTML = '<button class="clip" type="button"><span class="blank"></span><img alt="" hidden><b></b><small></small><progress hidden></progress></button>';
  row.querySelector("button").onclick = () => { chosen = id; draw(); $("panel").focus({preventScroll: innerWidth >= 1000}); };
}

function drawClip(clip, row) {
  const [button, image, name, state, bar] = ["button", "img", "b", "small", "progress"].map(tag => row.querySelector(tag));
  button.setAttribute("aria-current", String(clip.id === chosen));
  if (name.textContent !== clip.name) name.textContent = clip.name;
  if (state.textContent !== words.state(clip)) state.textContent = words.state(clip);
  const number = clip.moment && clip.moment.boxes !== undefined ? clip.moment.number : 0;
  const hasPicture = number > 0 || !image.hidden;
  if (number && !image.getAttribute("src")) image.src = address(`api/clips/${clip.id}/moment-before`, {v: number});
  image.hidden = !hasPicture; row.querySelector(".blank").hidden = hasPicture;
  const p = clip.progress, isShown = ["running", "paused"].includes(clip.state) && p && p.total_frames;
  bar.hidden = !isShown;
  bar.setAttribute("aria-label", `How much of ${clip.name} is done`);
  if (isShown) { bar.max = p.total_frames; bar.value = Math.min(p.num_frames, p.total_frames); }
}

function uploadRow(row, id) {
  row.innerHTML = '<div class="upload"><b></b><progress max="1" value="0"></progress><button type="button">Stop</button></div>';
  row.querySelector("button").onclick = () => { const upload = uploads.find(each => each.id === id); if (upload) upload.stop(); };
}

function drawUpload(upload, row) {
  row.querySelector("b").textContent = "Copying " + upload.file.name;
  const bar = row.querySelector("progress");
  bar.setAttribute("aria-label", "Copying " + upload.file.name);
  bar.value = upload.share;
}

async function takeFiles(files) {
  refuse("");
  const added = [...files].map(file => ({file, id: "upload-" + Math.random().toString(36).slice(2), share: 0, isStopped: false, stop() { this.isStopped = true; done(this); }}));
  uploads.push(...added);
  draw();
  for (const upload of added) {
    if (upload.isStopped) continue;
    const isTaken = await ask("api/check", {name: upload.file.name, num_bytes: upload.file.size});
    if (isTaken) await send(upload);
    else done(upload);
  }
}

function done(upload) { uploads = uploads.filter(each => each !== upload); draw(); }

function send(upload) {
  return new Promise(resolve => {
    const request = new XMLHttpRequest();
    request.open("POST", address("api/clips", {name: upload.file.name}));
    request.upload.onprogress = event => { upload.share = event.total ? event.loaded / event.total : 0; draw(); };
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* an answer that is none */ }
      if (answer.id) chosen = answer.id;
      else refuse(typeof answer.error === "string" ? answer.error : upload.file.name + ": the studio did not take it");
      resolve();
    };
    request.onerror = () => { refuse(upload.file.name + ": the copy was cut off"); resolve(); };
    request.onabort = () => resolve();
    upload.stop = () => { upload.isStopped = true; request.abort(); };
    request.send(upload.file);
  }).then(() => done(upload));
}

$("choose").onchange = () => { takeFiles($("choose").files); $("choose").value = ""; };
for (const kind of ["dragenter", "dragover"]) addEventListener(kind, event => { event.preventDefault(); $("drop").classList.add("over"); });
for (const kind of ["dragleave", "drop"]) addEventListener(kind, event => { event.preventDefault(); if (kind === "drop" || !event.relatedTarget) $("drop").classList.remove("over"); });
addEventListener("drop", event => takeFiles(event.dataTransfer.files));
listen();
