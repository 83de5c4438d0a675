// The clip that is chosen: what it is, what it will become, how far it is, what it became.
import {Compare, Player} from "./compare.js";
import * as words from "./words.js";

const $ = id => document.getElementById(id);
const AT_WORK = ["waiting", "running", "paused"];

function put(element, text) { if (element.textContent !== text) element.textContent = text; }

export class Panel {
  // ask(path, body, method): asks the studio; address(path, more): of a file of the studio
  constructor(ask, address) {
    this.ask = ask; this.address = address; this.clip = null; this.isAgain = false; this.quality = "best";
    this.source = new Player($("source-player"), "Your clip");
    this.moment = new Compare($("moment-view"), "The moment, before and after");
    this.trial = new Player($("trial-player"), "Two seconds, before and after");
    this.newest = new Compare($("newest-view"), "The newest frame, before and after");
    this.result = new Player($("result-player"), "The result, before and after");
    this.source.zoomRow.hidden = true; // a clip that plays is looked at as a whole
    this.source.onStop = time => this.look(time);
    this.source.onUnplayable = () => this.copy("source");
    this.result.onUnplayable = number => this.copy(number ? "result" : "source");
    this.listen();
  }

  path(what) { return "api/clips/" + this.clip.id + "/" + what; }
  post(what, body = {}) { return this.ask(this.path(what), body); }
  file(what, version) { return this.address(this.path(what), {v: version}); }
  choices() { return {quality: this.quality, strength: $("strength").value / 100}; }
  look(time) { this.post("moment", {time_s: Math.max(0, time), quality: this.quality}); }

  copy(of) {
    const copies = this.clip.copies;
    if (!copies[of]) this.post("copy", {of});
  }

  listen() {
    for (const radio of document.querySelectorAll("[name=quality]")) radio.onchange = () => {
      this.quality = radio.value;
      const shown = this.clip.moment;
      this.look(shown && shown.time_s !== undefined ? shown.time_s : (this.clip.facts.duration_s || 0) / 2);
      this.draw();
    };
    $("strength").oninput = () => this.blend();
    $("heat").onchange = $("boxes").onchange = () => this.drawMoment();
    $("try").onclick = () => {
      const time = this.clip.moment && this.clip.moment.time_s || 0, length = this.clip.facts.duration_s || time + 2;
      this.post("trial", {...this.choices(), start_s: Math.max(0, Math.min(time - 1, length - 2))});
    };
    $("start").onclick = () => { this.isAgain = false; this.post("start", this.choices()); };
    for (const act of ["pause", "resume", "cancel"]) $(act).onclick = () => this.post(act);
    $("remove").onclick = () => {
      const {name, state} = this.clip;
      const why = AT_WORK.includes(state) ? `${name} is being made.` : state === "done" ? `The result of ${name} goes, too, unless you have downloaded it.` : "";
      if (!why || confirm(why + " Remove it all the same?")) this.ask("api/clips/" + this.clip.id, null, "DELETE");
    };
    $("again").onclick = () => { this.isAgain = true; this.draw(); $("look-step").scrollIntoView(); $("strength").focus(); };
    $("show-folder").onclick = async () => {
      const told = await this.post("folder");
      if (told) { $("result-path").hidden = false; put($("result-path"), "It lies here: " + told.path); }
    };
  }

  show(clip) {
    const isOther = !this.clip || !clip || this.clip.id !== clip.id;
    this.clip = clip;
    $("panel").hidden = !clip;
    if (!clip) return;
    if (isOther) {
      this.isAgain = false; this.quality = clip.quality; this.shown = {};
      $("strength").value = Math.round(100 * clip.strength);
      $("result-path").hidden = true;
      document.querySelector(`[name=quality][value=${clip.quality}]`).checked = true;
      for (const each of [this.moment, this.newest, this.trial, this.result, this.source]) { each.zoomTo(1); each.moveSplit(0.5); }
      for (const each of [this.trial, this.result, this.source]) each.load("", "", 0, false);
    }
    this.draw();
  }

  draw() {
    const held = document.activeElement;
    const clip = this.clip, facts = clip.facts, isClip = facts.kind === "clip", isKnown = Boolean(facts.kind);
    const isAtWork = AT_WORK.includes(clip.state), isDone = clip.state === "done" && !this.isAgain;
    put($("name"), clip.name);
    $("remove").setAttribute("aria-label", "Remove " + clip.name);
    put($("facts"), clip.state === "looking" ? "being looked at …" : words.about(facts));
    $("error").hidden = !clip.error; put($("error"), clip.error);
    $("warnings").hidden = !clip.warnings.length;
    $("warnings").querySelector("ul").replaceChildren(...clip.warnings.map(text => Object.assign(document.createElement("li"), {textContent: text})));
    $("watch-step").hidden = !isKnown || !isClip || isAtWork || isDone;
    $("look-step").hidden = !isKnown || isAtWork || isDone;
    $("start-step").hidden = !isKnown || isAtWork || isDone;
    $("work-step").hidden = !isAtWork;
    $("done-step").hidden = !isDone;
    $("trial-part").hidden = !isClip;
    put($("look-words"), isClip ? "See it before and after" : "See your picture before and after");
    put($("start-words"), isClip ? "Make the whole clip sharper" : "Make the picture sharper");
    for (const number of document.querySelectorAll(".number")) number.hidden = isKnown && !isClip;
    if (!isKnown) return;
    for (const each of [this.source, this.moment, this.trial, this.newest, this.result]) each.shape(facts.width, facts.height);
    if (isAtWork) this.drawWork();
    else if (isDone) this.drawDone();
    else { if (isClip) this.drawSource(); this.drawMoment(); this.drawTrial(); this.drawStart(); }
    if (isAtWork || isDone) this.source.stop(false);
    this.keepFocus(held, isAtWork ? "work-title" : isDone ? "done-title" : "start-title");
  }

  // What had the focus may have gone with its step; then the step that took its place has it.
  keepFocus(held, title) {
    if (!held || !$("panel").contains(held) || held === $("panel") || held.getClientRects().length) return;
    const other = {pause: "resume", resume: "pause"}[held.id];
    (other && !$(other).hidden && $(other).getClientRects().length ? $(other) : $(title)).focus({preventScroll: true});
  }

  // The source as this browser plays it; empty as long as a copy is being made for that.
  playable(of) {
    const copy = this.clip.copies[of];
    if (!copy && this.clip.facts.is_hdr) { this.copy(of); return ""; } // browsers differ in how they show HDR
    const number = of === "result" ? this.clip.result_number : 0; // made again, it is another file of the same name
    if (copy === "ready") return this.file(of + "-copy", number);
    return copy ? "" : this.file(of, number);
  }

  waitText(...kinds) {
    const copies = this.clip.copies, waits = kinds.find(of => copies[of] && copies[of] !== "ready");
    if (!waits) return "";
    return copies[waits] === "making" ? (this.clip.facts.is_hdr ? "A copy in ordinary brightness is being made …"
      : "Your browser cannot play this kind of clip, so a copy for looking at is being made …")
      : "This clip cannot be played here: " + copies[waits];
  }

  drawSource() {
    const wait = this.waitText("source");
    const {facts, moment} = this.clip, at = moment && (moment.wanted ? moment.wanted.time_s : moment.time_s) || 0;
    this.source.load(this.playable("source"), "", facts.duration_s, facts.has_sound, at);
    $("source-wait").hidden = !wait; put($("source-wait"), wait);
  }

  drawMoment() {
    const moment = this.clip.moment, has = moment && moment.boxes !== undefined;
    $("moment-view").hidden = $("switches").hidden = !has;
    const time = at => this.clip.facts.kind === "clip" ? ` at ${words.clock(at)}` : "";
    let text = "";
    if (moment && moment.error) text = moment.error;
    else if (moment && moment.wanted) text = `Working on the picture${time(moment.wanted.time_s)} … this takes a few seconds.`;
    else if (has) text = `This is your ${this.clip.facts.kind}${time(moment.time_s)}. Move the border between before and after.`;
    put($("moment-text"), text);
    $("moment-text").classList.toggle("bad", Boolean(moment && moment.error));
    $("look-step").setAttribute("aria-busy", String(Boolean(moment && moment.wanted)));
    if (!moment && this.shown.asked !== this.clip.id) {
      this.shown.asked = this.clip.id;
      this.look((this.clip.facts.duration_s || 0) / 2);
    }
    if (!has) return;
    const heat = $("heat").checked, key = `${this.clip.id}-${moment.number}-${heat}`;
    if (this.shown.moment !== key) {
      this.shown.moment = key;
      this.moment.before.src = this.file("moment-before", moment.number);
      this.moment.before.alt = "Before"; this.moment.after.alt = heat ? "After, coloured by where it is still blurred" : "After";
      this.moment.after.src = this.file(heat ? "moment-heat" : "moment-after", moment.number);
      this.moment.before.onload = () => this.moment.draw();
    }
    $("heat-key").hidden = !heat;
    $("box-key").hidden = !$("boxes").checked;
    put($("box-key"), moment.boxes.length ? "Inside the yellow boxes it was refined once more." : "Nothing in this picture was refined once more.");
    this.moment.mark($("boxes").checked ? moment.boxes : []);
    this.moment.show(true);
    this.blend();
  }

  // output = input + strength x (deblurred - input): what the browser does with the opacity
  blend() {
    const share = $("strength").value / 100;
    this.moment.afterLayer.style.opacity = $("heat").checked ? 1 : share;
    const text = Math.round(100 * share) + " %";
    put($("strength-text"), text);
    $("strength").setAttribute("aria-valuetext", text);
  }

  drawTrial() {
    const trial = this.clip.trial;
    $("try").disabled = Boolean(trial && trial.state === "making");
    $("trial-player").hidden = !(trial && trial.state === "ready");
    if (!trial) { put($("trial-text"), ""); return; }
    if (trial.state === "making") {
      const p = trial.progress;
      put($("trial-text"), p && p.total_frames ? `${p.num_frames} of ${p.total_frames} frames …` : "getting ready …");
    } else if (trial.state === "failed") put($("trial-text"), trial.error);
    else {
      put($("trial-text"), `from ${words.clock(trial.start_s)}, ${trial.quality}, ${Math.round(100 * trial.strength)} %`);
      this.trial.load(this.file("trial-before", trial.number), this.file("trial-after", trial.number), 2, this.clip.facts.has_sound);
    }
  }

  drawStart() {
    const estimates = this.clip.estimate_s, isClip = this.clip.facts.kind === "clip";
    // a clip that does not say how many frames it has, as a recording of a browser, is timed by the frame
    const paceOf = quality => this.clip.frame_s[quality] ? words.pace(1 / this.clip.frame_s[quality]) : "";
    const told = {best: "undoes the most", fast: isClip ? "for long clips; gains a little less" : "less thorough"};
    for (const quality of ["best", "fast"]) {
      const time = estimates[quality];
      put($(quality + "-time"), [time ? words.span(time) : isClip ? paceOf(quality) || "being timed …" : "", told[quality]].filter(Boolean).join("; "));
    }
    const time = estimates[this.quality], pace = paceOf(this.quality);
    put($("time-text"), time ? `It takes ${words.span(time)} on this computer. That was measured on your own ${this.clip.facts.kind}.`
      : isClip && pace ? `The pace on this computer is ${pace}. Your clip does not say how long it is, so the whole time is not known.`
      : isClip ? "How long it takes here is being measured on the first frames of your clip …" : "");
    put($("start"), this.isAgain ? "Make it again" : this.clip.state === "failed" ? "Try again" : "Make it sharper");
  }

  drawWork() {
    const clip = this.clip, p = clip.progress, isPaused = clip.state === "paused";
    put($("work-title"), clip.is_ending ? "It is being stopped" : {waiting: "It waits for its turn", running: `Your ${clip.facts.kind} is being made sharper`, paused: "Paused"}[clip.state]);
    const isKnown = p && p.total_frames && p.num_frames <= p.total_frames;
    if (isKnown) { $("bar").max = p.total_frames; $("bar").value = p.num_frames; }
    else if (clip.state === "running") $("bar").removeAttribute("value");
    else $("bar").value = 0;
    const parts = [];
    if (p) parts.push(isKnown ? `${p.num_frames} of ${p.total_frames} frames` : `${p.num_frames} frames`);
    if (p && clip.state === "running") {
      parts.push(words.pace(p.rate_fps));
      if (p.left_s !== null) parts.push(p.left_s > 0 ? words.span(p.left_s) + " left" : "finishing");
    }
    put($("progress-text"), parts.filter(Boolean).join(" · ") || (clip.state === "running" ? "getting ready …" : ""));
    $("pause").hidden = isPaused || clip.facts.kind === "picture"; $("resume").hidden = !isPaused;
    for (const act of ["pause", "resume", "cancel"]) $(act).disabled = clip.is_ending;
    const newest = p && p.newest;
    $("newest-view").hidden = !newest;
    if (!newest) this.shown.newest = ""; // work that begins anew counts from 1 again
    const key = `${clip.id}-${newest}`;
    if (newest && this.shown.newest !== key) {
      this.shown.newest = key;
      this.newest.before.src = this.file("newest-before", newest);
      this.newest.after.src = this.file("newest-after", newest);
      this.newest.before.alt = "The newest frame before"; this.newest.after.alt = "The newest frame after";
      this.newest.show(true);
    }
  }

  drawDone() {
    const clip = this.clip, isClip = clip.facts.kind === "clip";
    $("download").href = this.address(this.path("download"));
    put($("done-words"), `Done: here is your sharper ${clip.facts.kind}`);
    put($("download"), `Download (${words.bytes(clip.result_bytes || 0)})`);
    $("result-player").hidden = !isClip;
    if (!isClip) { $("look-step").hidden = false; this.drawMoment(); $("result-wait").hidden = true; return; }
    const wait = this.waitText("source", "result"), [before, after] = [this.playable("source"), this.playable("result")];
    this.result.load(before, before ? after : "", clip.facts.duration_s, clip.facts.has_sound);
    $("result-wait").hidden = !wait; put($("result-wait"), wait);
  }
}
