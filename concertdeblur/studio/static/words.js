// Figures in words that one says.

export function clock(seconds) {
  const tenths = Math.round(10 * seconds), minutes = Math.floor(tenths / 600);
  return minutes + ":" + ((tenths - 600 * minutes) / 10).toFixed(1).padStart(4, "0");
}

export function span(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 55) return `about ${5 * Math.round(seconds / 5)} seconds`;
  if (seconds < 100) return "about a minute";
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} minutes`;
  const hours = seconds / 3600;
  return `about ${hours < 10 ? Math.round(2 * hours) / 2 : Math.round(hours)} hours`;
}

export function bytes(count) {
  if (count >= 1e9) return (count / 1e9).toFixed(1) + " GB";
  return Math.max(0.1, count / 1e6).toFixed(count < 1e7 ? 1 : 0) + " MB";
}

export function pace(rate) {
  if (!rate) return "";
  return rate >= 1 ? `${rate.toFixed(1)} frames a second` : `${(1 / rate).toFixed(1)} seconds for each frame`;
}

export function about(facts) {
  if (!facts.kind) return "";
  const parts = [`${facts.width} × ${facts.height}`, bytes(facts.size_bytes)];
  if (facts.kind === "picture") return ["a picture", ...parts].join(" · ");
  if (facts.duration_s !== null) parts.unshift(facts.duration_s < 60 ? facts.duration_s.toFixed(1) + " seconds" : clock(facts.duration_s) + " minutes");
  if (facts.rate_fps) parts.push(Math.round(facts.rate_fps) + " frames a second");
  parts.push(facts.has_sound ? "with sound" : "no sound");
  if (facts.is_hdr) parts.push("HDR, which this page shows in ordinary brightness");
  return parts.join(" · ");
}

const STATES = {looking: "Being looked at", ready: "Ready to try", waiting: "Waits for its turn", running: "Being made",
                paused: "Paused", done: "Done", failed: "Did not work"};

export function state(clip) {
  if (clip.is_ending) return "Being stopped";
  const told = STATES[clip.state];
  const p = clip.progress;
  if (clip.state === "running" && p && p.total_frames) return `${told}, ${Math.floor(100 * Math.min(1, p.num_frames / p.total_frames))} %`;
  return told;
}
