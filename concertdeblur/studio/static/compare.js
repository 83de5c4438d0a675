// Two pictures, or two videos, over one another with a slider between; zoom and place are those of both.

const ZOOMS = [1, 2, 4, 8], NEAR_PX = 28;

function make(tag, attributes = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

export class Compare {
  // what: in words, for screen readers; kind: "img" or "video"
  constructor(root, what, kind = "img") {
    this.split = 0.5; this.zoom = 1; this.x = 0; this.y = 0; this.hasAfter = false; this.fingers = new Map();
    const attributes = kind === "video" ? {playsinline: "", preload: "auto"} : {alt: "", draggable: "false"};
    this.before = make(kind, attributes); this.after = make(kind, attributes);
    this.afterLayer = make("div", {class: "layer"}, this.after);
    this.marks = make("div", {class: "marks"});
    this.scene = make("div", {class: "scene"}, make("div", {class: "layer"}, this.before), this.afterLayer, this.marks);
    this.divider = make("div", {class: "divider"});
    this.tags = [make("span", {class: "tag before"}, "Before"), make("span", {class: "tag after"}, "After")];
    this.stage = make("div", {class: "stage", tabindex: "0", role: "group", "aria-label": what + ". Left and right move the border between before and after; plus and minus zoom."}, this.scene, this.divider, ...this.tags);
    this.wipe = make("input", {type: "range", min: "0", max: "1000", value: "500", "aria-label": "Border between before and after"});
    this.zoomText = make("output", {}, "1 ×");
    this.controls = make("div", {class: "controls"});
    this.wipeRow = make("span", {class: "wipe"}, make("span", {class: "dim", "aria-hidden": "true"}, "Before | After"), this.wipe);
    const zoomRow = this.zoomRow = make("span", {class: "zoom", role: "group", "aria-label": "Zoom"});
    for (const [text, name, by] of [["−", "Zoom out", -1], ["+", "Zoom in", 1]]) {
      const button = make("button", {type: "button", "aria-label": name}, text);
      button.onclick = () => this.step(by);
      zoomRow.append(button);
      if (by < 0) zoomRow.append(this.zoomText);
    }
    this.controls.append(this.wipeRow, zoomRow);
    root.append(this.stage, this.controls);
    this.wipe.oninput = () => { this.split = this.wipe.value / 1000; this.draw(); };
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.stage);
    this.draw();
  }

  shape(width, height) {
    this.stage.style.setProperty("--ratio", width / height);
    this.stage.classList.toggle("tall", height > width);
  }

  show(hasAfter) { this.hasAfter = hasAfter; this.draw(); }

  mark(boxes) {
    this.marks.replaceChildren(...boxes.map(([left, top, width, height]) => {
      const box = document.createElement("i");
      Object.assign(box.style, {left: 100 * left + "%", top: 100 * top + "%", width: 100 * width + "%", height: 100 * height + "%"});
      return box;
    }));
  }

  step(by, at = null) {
    const place = ZOOMS.findIndex(zoom => zoom >= this.zoom);
    this.zoomTo(ZOOMS[Math.max(0, Math.min(ZOOMS.length - 1, place + by))], at);
  }

  zoomTo(zoom, at = null) {
    const {width, height} = this.stage.getBoundingClientRect();
    const [x, y] = at || [this.hasAfter ? this.split * width : width / 2, height / 2];
    const share = zoom / this.zoom;
    this.x = x - share * (x - this.x); this.y = y - share * (y - this.y);
    this.zoom = zoom;
    this.draw();
  }

  draw() {
    const {width, height} = this.stage.getBoundingClientRect();
    this.x = Math.min(0, Math.max(width - this.zoom * width, this.x));
    this.y = Math.min(0, Math.max(height - this.zoom * height, this.y));
    const natural = this.before.naturalWidth || this.before.videoWidth || width;
    this.scene.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    this.scene.classList.toggle("pixels", this.zoom * width >= 2 * natural);
    this.afterLayer.hidden = !this.hasAfter;
    this.afterLayer.style.clipPath = `inset(0 0 0 ${(this.split * width - this.x) / this.zoom}px)`;
    this.divider.style.left = 100 * this.split + "%";
    for (const part of [this.divider, this.wipeRow, ...this.tags]) part.hidden = !this.hasAfter;
    this.wipe.value = Math.round(1000 * this.split);
    this.wipe.setAttribute("aria-valuetext", `${Math.round(100 * (1 - this.split))} percent after`);
    this.stage.classList.toggle("zoomed", this.zoom > 1);
    this.stage.classList.toggle("alone", !this.hasAfter);
    this.zoomText.textContent = this.zoom.toFixed(this.zoom % 1 ? 1 : 0) + " ×";
  }

  moveSplit(to) { this.split = Math.max(0, Math.min(1, to)); this.draw(); }

  listen() {
    const stage = this.stage;
    let drags = "";
    stage.onpointerdown = event => {
      if (event.button) return;
      const box = stage.getBoundingClientRect(), x = event.clientX - box.left;
      this.fingers.set(event.pointerId, [x, event.clientY - box.top]);
      stage.setPointerCapture(event.pointerId);
      const isNear = Math.abs(x - this.split * box.width) < NEAR_PX;
      drags = this.hasAfter && (this.zoom === 1 || isNear) ? "split" : "place";
      if (drags === "split" && this.fingers.size === 1) this.moveSplit(x / box.width);
    };
    stage.onpointermove = event => {
      const before = this.fingers.get(event.pointerId);
      if (!before) return;
      const box = stage.getBoundingClientRect(), now = [event.clientX - box.left, event.clientY - box.top];
      if (this.fingers.size === 2) {
        const other = [...this.fingers].find(([id]) => id !== event.pointerId)[1];
        const far = (a, b) => Math.max(8, Math.hypot(a[0] - b[0], a[1] - b[1]));
        const zoom = Math.max(1, Math.min(8, this.zoom * far(now, other) / far(before, other)));
        this.zoomTo(zoom, [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
      } else if (drags === "split") this.moveSplit(now[0] / box.width);
      else { this.x += now[0] - before[0]; this.y += now[1] - before[1]; this.draw(); }
      this.fingers.set(event.pointerId, now);
    };
    stage.onpointerup = stage.onpointercancel = event => this.fingers.delete(event.pointerId);
    stage.ondblclick = event => {
      const box = stage.getBoundingClientRect();
      this.zoomTo(this.zoom > 1 ? 1 : 4, [event.clientX - box.left, event.clientY - box.top]);
    };
    stage.onkeydown = event => {
      const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "+" || event.key === "=") this.step(1);
      else if (event.key === "-") this.step(-1);
      else if (event.key === "0") this.zoomTo(1);
      else if (step && this.zoom > 1) { this.x -= 40 * step[0]; this.y -= 40 * step[1]; this.draw(); }
      else if (step && step[0] && this.hasAfter) this.moveSplit(this.split + 0.02 * step[0]);
      else return;
      event.preventDefault();
    };
  }
}

// A video, or two that play in step, with a button, a time and sound.
export class Player extends Compare {
  constructor(root, what) {
    super(root, what, "video");
    this.onStop = () => {}; this.onUnplayable = () => {};
    this.length = 0; this.sources = ["", ""]; this.isWanted = false;
    this.play = make("button", {type: "button"}, "Play");
    this.place = make("input", {type: "range", min: "0", max: "1000", value: "0", "aria-label": "Time", "aria-valuetext": "0:00.0"});
    this.time = make("span", {class: "time"}, "0:00.0");
    this.sound = make("button", {type: "button"}, "Turn sound on");
    const row = make("div", {class: "controls"}, this.play, make("span", {class: "wipe"}, this.place, this.time), this.sound);
    this.stage.after(row);
    this.before.muted = this.after.muted = true;
    this.play.onclick = () => this.isWanted ? this.stop() : this.go();
    this.place.oninput = () => this.seek(this.place.value / 1000 * this.length);
    this.place.onchange = () => { if (!this.isWanted) this.onStop(this.main.currentTime); };
    this.sound.onclick = () => {
      const on = this.main.muted;
      this.main.muted = !on;
      this.sound.textContent = on ? "Turn sound off" : "Turn sound on";
    };
    for (const [number, video] of [this.before, this.after].entries()) {
      video.onerror = () => { if (video.getAttribute("src")) this.onUnplayable(number); };
      // some browsers play the sound of a clip whose pictures they cannot show
      video.onloadedmetadata = () => { if (!video.videoWidth) this.onUnplayable(number); this.told(); };
      video.ontimeupdate = () => this.told();
      video.onended = () => { if (video === this.main) this.stop(false); };
    }
  }

  get main() { return this.hasAfter ? this.after : this.before; }

  load(before, after, length, hasSound, at = 0) {
    this.length = length || this.length;
    this.sound.hidden = !hasSound;
    if (before === this.sources[0] && after === this.sources[1]) return;
    this.isWanted = false; this.play.textContent = "Play";
    for (const [video, old, now] of [[this.before, this.sources[0], before], [this.after, this.sources[1], after]]) {
      if (old === now) continue;
      if (now) video.src = now; else video.removeAttribute("src");
      video.load();
    }
    this.sources = [before, after];
    this.show(Boolean(after));
    if (before && at) this.seek(at);
  }

  both() { return this.hasAfter ? [this.before, this.after] : [this.before]; }

  async go() {
    this.isWanted = true; this.play.textContent = "Stop";
    if (this.main.ended || this.main.currentTime >= this.length - 0.05) this.seek(0);
    try { await Promise.all(this.both().map(video => video.play())); } catch { this.stop(false); return; }
    const follow = () => {
      if (!this.isWanted) return;
      this.keepInStep();
      requestAnimationFrame(follow);
    };
    follow();
  }

  stop(isTold = true) {
    this.isWanted = false; this.play.textContent = "Play";
    for (const video of this.both()) video.pause();
    if (this.hasAfter) this.before.currentTime = this.after.currentTime;
    if (isTold) this.onStop(this.main.currentTime);
  }

  seek(time) { for (const video of this.both()) video.currentTime = time; this.told(time); }

  keepInStep() {
    if (!this.hasAfter || this.before.seeking) return;
    const ahead = this.before.currentTime - this.after.currentTime;
    if (Math.abs(ahead) > 0.25) this.before.currentTime = this.after.currentTime;
    this.before.playbackRate = ahead > 0.02 ? 0.95 : ahead < -0.02 ? 1.05 : 1;
  }

  told(time = this.main.currentTime) {
    if (Number.isFinite(this.main.duration)) this.length = this.main.duration;
    const minutes = at => Math.floor(at / 60) + ":" + (at % 60).toFixed(1).padStart(4, "0");
    this.time.textContent = minutes(time) + " / " + minutes(this.length);
    if (document.activeElement !== this.place || this.isWanted) this.place.value = this.length ? 1000 * time / this.length : 0;
    this.place.setAttribute("aria-valuetext", minutes(time));
  }
}
