// The live page: asks for the state once a second and draws it. Text goes in as text, never as HTML.
"use strict";
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const duration = (ms) => (ms === null ? "–" : ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);
const since = (change, step) => (change[step] === null ? null : Math.max(0, change[step] - change.saved));
const TONES = { acknowledged: "green", deleted: "green", delivered: "green", retrying: "amber", refused: "red" };

function drawParts(parts) {
  $("pipeline").replaceChildren(...parts.map((part) => {
    const item = element("li", null, part.state);
    item.dataset.part = part.id;
    item.dataset.state = part.state;
    const counts = element("dl");
    for (const [name, count] of Object.entries(part.counts)) counts.append(element("dt", name), element("dd", count));
    const mark = { green: "●", amber: "▲", red: "✖" }[part.state];
    item.append(element("h2", part.name), element("div", `${mark} ${part.word}`, "word"), counts);
    return item;
  }));
}

function drawLag(lag) {
  const all = [...lag.delivered, ...lag.acknowledged].filter(Boolean);
  const top = Math.max(100, ...all.map((point) => point.p95));
  const y = (ms) => 180 - (170 * ms) / top;
  const shapes = [0, 0.5, 1].map((share) => svg("line", { x1: 0, x2: 900, y1: y(top * share), y2: y(top * share) }));
  for (const kind of ["delivered", "acknowledged"]) {
    for (const share of ["p50", "p95"]) {
      const points = lag[kind].map((p, n) => p && `${(n * 900) / (lag[kind].length - 1)},${y(p[share])}`).filter(Boolean);
      shapes.push(svg("polyline", { class: `${kind} ${share}`, points: points.join(" ") }));
      if (points.length === 1) shapes.push(svg("circle", { class: kind, r: 3, cx: points[0].split(",")[0], cy: points[0].split(",")[1] }));
    }
  }
  $("lag").replaceChildren(...shapes);
  const last = (kind) => lag[kind].findLast(Boolean);
  const words = ["delivered", "acknowledged"].map((kind) => {
    const point = last(kind);
    return point ? `${kind}: median ${duration(point.p50)}, 95th percentile ${duration(point.p95)}` : `${kind}: nothing yet`;
  });
  $("lag-words").textContent = `Latest: ${words.join("; ")}. Top of the plot: ${duration(top)}.`;
  $("lag").setAttribute("aria-label", words.join("; "));
}

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawChanges(changes) {
  const held = document.activeElement?.dataset?.change;
  $("changes").replaceChildren(...changes.map((change) => {
    const line = element("tr");
    line.dataset.outcome = change.outcome;
    const open = element("button", change.row.replace(/(:.{8}).*/, "$1…"));
    open.dataset.change = change.correlationId + change.row;
    open.title = `${change.row}, correlation ${change.correlationId}`;
    open.addEventListener("click", () => showTrace(change));
    const first = element("td");
    first.append(open);
    const outcome = element("td", change.outcome, `word ${TONES[change.outcome] ?? ""}`);
    const times = ["delivered", "acknowledged"].map((step) => element("td", duration(since(change, step)), "n"));
    line.append(first, element("td", change.operation), outcome, ...times, element("td", change.failures, "n"));
    return line;
  }));
  // The rows are new ones; whoever is at one with the keyboard stays there.
  if (held) [...$("changes").querySelectorAll("button")].find((button) => button.dataset.change === held)?.focus();
}

function showTrace(change) {
  const facts = { Row: change.row, Correlation: change.correlationId, Change: `${change.operation}, version ${change.version}`, Outcome: change.outcome, "Failed calls": change.failures + (change.lastStatus ? ` (last ${change.lastStatus})` : "") };
  $("trace-facts").replaceChildren(...Object.entries(facts).flatMap(([name, fact]) => [element("dt", name), element("dd", fact)]));
  const whole = Math.max(1, since(change, "acknowledged") ?? 0, since(change, "delivered") ?? 0);
  $("trace-steps").replaceChildren(...["delivered", "acknowledged"].map((step) => {
    const item = element("li", change[step] === null ? `not ${step}` : `${step} ${duration(since(change, step))} after the save`);
    if (change[step] !== null) {
      const bar = element("div", null, `bar ${step}`);
      bar.style.width = `${(100 * since(change, step)) / whole}%`;
      item.append(bar);
    }
    return item;
  }));
  $("trace").showModal();
}

function drawDead(dead) {
  $("dead-count").textContent = dead.length ? `(${dead.length})` : "";
  const items = dead.map((letter) => {
    const item = element("li");
    item.append(element("strong", letter.reason ?? "no reason given"), element("div", letter.description ?? ""));
    item.append(element("code", `${letter.queue} · ${letter.table ?? "?"}:${letter.row ?? "?"} · correlation ${letter.correlationId ?? "?"}`));
    return item;
  });
  $("dead").replaceChildren(...(items.length ? items : [element("li", "None.", "none")]));
}

async function look() {
  try {
    const answer = await fetch("state.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const state = await answer.json();
    if (state.parts) {
      drawParts(state.parts);
      drawLag(state.lag);
      drawChanges(state.changes);
      drawDead(state.deadLetters);
    }
    $("live").textContent = "live";
  } catch {
    $("live").textContent = "not running any more";
  }
  setTimeout(look, 1000);
}

for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", () => fetch(`act/${button.dataset.act}`, { method: "POST" }).catch(() => {}));
}
look();
