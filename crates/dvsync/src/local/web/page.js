// The live page: asks for the state once a second and draws it.
"use strict";
const SVG = "http://www.w3.org/2000/svg";

// What came last.
let latest = null;

function drawParts(parts) {
  $("pipeline").replaceChildren(...parts.map((part) => {
    const item = element("li", null, part.state);
    item.dataset.part = part.id;
    item.dataset.state = part.state;
    const counts = element("dl");
    for (const [name, count] of Object.entries(part.counts)) counts.append(element("dt", name), element("dd", count));
    item.append(element("h2", part.name), element("div", `${MARKS[part.state]} ${part.word}`, "word"), counts);
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
    return point ? `${kind} ${duration(point.p50)} (95 %: ${duration(point.p95)})` : `nothing ${kind} yet`;
  });
  $("lag-words").textContent = `Latest: ${words.join(", ")}. Top of the plot: ${duration(top)}.`;
  $("lag").setAttribute("aria-label", words.join(", "));
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
    Object.assign(line.dataset, { outcome: change.outcome, correlation: change.correlationId });
    const open = element("button", short(change.row));
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

function drawHealth(rows, telemetry) {
  $("health").replaceChildren(...rows.map((row) => {
    const line = element("tr", null, row.state);
    Object.assign(line.dataset, { system: row.system, app: row.app, state: row.state, breaker: row.breaker ?? "" });
    line.append(element("td", row.system), element("td", row.app), element("td", `${MARKS[row.state]} ${row.word}`, "word"));
    const governor = row.governor;
    if (!governor) {
      line.append(...[1, 2, 3].map(() => element("td", "–", "n")));
      return line;
    }
    const used = element("td", `${governor.inFlight} of ${governor.allowed} `, "n");
    const meter = element("meter");
    Object.assign(meter, { max: Math.max(1, governor.allowed), value: governor.inFlight });
    meter.setAttribute("aria-hidden", "true");
    used.append(meter);
    const limits = Object.entries(governor.limits).map(([limit, count]) => `${limit.replace("_", " ")} ${count}`);
    const throttled = element("td", governor.throttled, "n");
    if (limits.length) throttled.append(element("div", limits.join(", "), "soft"));
    line.append(used, element("td", governor.requests, "n"), throttled);
    return line;
  }));
  const why = rows.length ? "" : "Nothing has been told yet. ";
  $("health-note").textContent = why + (telemetry ? "" : "Breakers are told by telemetry, and this run was started with --no-telemetry.");
}

function drawDead(dead) {
  const held = document.activeElement?.closest("#dead tr")?.dataset.letter;
  const heldButton = document.activeElement?.className;
  $("dead-count").textContent = dead.length ? `(${dead.length})` : "";
  $("resend-all").hidden = !dead.length;
  const lines = dead.map((letter) => {
    const line = element("tr");
    Object.assign(line.dataset, { letter: `${letter.queue}/${letter.number}`, queue: letter.queue, correlation: letter.correlationId });
    const cell = (name, text, className) => {
      const made = element("td", text, className);
      made.dataset.name = name;
      line.append(made);
      return made;
    };
    const row = letter.row ? `${letter.table ?? "?"}:${letter.row}` : "unknown row";
    const open = element("button", short(row), "row");
    open.title = `${row}, correlation ${letter.correlationId ?? "unknown"}`;
    open.disabled = !letter.correlationId;
    open.addEventListener("click", () => showTrace(latest.changes.find((c) => c.correlationId === letter.correlationId && c.row === row) ?? { row, correlationId: letter.correlationId }));
    cell("Letter").append(open, element("div", letter.queue, "soft"));
    cell("Reason", letter.reason ?? "none given", "word red");
    cell("Stage", letter.stage ?? "–");
    cell("Code", letter.code ?? "–").append(letter.status ? element("div", `status ${letter.status}`, "soft") : "");
    cell("What happened", letter.description ?? "–", "long");
    const again = element("button", "Resend", "again");
    again.setAttribute("aria-label", `Resend ${row} of ${letter.queue}`);
    again.disabled = resending.has(line.dataset.letter);
    again.addEventListener("click", () => resend([letter], again));
    cell("").append(again);
    return line;
  });
  if (!lines.length) {
    const none = element("td", "None.");
    none.colSpan = 6;
    lines.push(element("tr", null, "none"));
    lines[0].append(none);
  }
  $("dead").replaceChildren(...lines);
  if (held) $("dead").querySelector(`tr[data-letter="${held}"] .${heldButton}`)?.focus();
}

// Letters on their way back.
const resending = new Set();

// Sends letters again: those given one by one, or all of the queues they are on.
async function resend(letters, button, all) {
  const keys = letters.map((letter) => `${letter.queue}/${letter.number}`);
  keys.forEach((key) => resending.add(key));
  button.disabled = true;
  $("dead-note").textContent = "resending …";
  const asked = all ? [...new Set(letters.map((letter) => letter.queue))].map((queue) => ({ queue })) : letters;
  let sent = 0;
  try {
    for (const { queue, number } of asked) {
      const which = new URLSearchParams(number === undefined ? { queue } : { queue, number });
      const answer = await fetch(`resend?${which}`, { method: "POST" });
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.problem);
      sent += told.resent;
    }
    $("dead-note").textContent = sent ? `${sent} resent` : "it is gone, or held by somebody else";
  } catch (error) {
    $("dead-note").textContent = `not resent: ${error.message}`;
  }
  keys.forEach((key) => resending.delete(key));
  button.disabled = false;
}

function drawSwitches(switches) {
  for (const [system, position] of Object.entries(switches)) {
    for (const button of document.querySelectorAll(`[data-act^="${system}-"]`)) {
      button.setAttribute("aria-pressed", button.dataset.act === `${system}-${position}`);
    }
  }
}

async function look() {
  try {
    const answer = await fetch("state.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const state = await answer.json();
    if (state.parts) {
      latest = state;
      drawParts(state.parts);
      drawLag(state.lag);
      drawHealth(state.health, state.telemetry);
      drawChanges(state.changes);
      drawDead(state.deadLetters);
      drawSwitches(state.switches);
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
$("resend-all").addEventListener("click", () => resend(latest.deadLetters, $("resend-all"), true));
look();
