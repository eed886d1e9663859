// The trace of one change: its telemetry across both apps as a tree with timings, asked for until it is whole.
"use strict";
const trace = { open: null, drawn: null, timer: 0 };
const isWork = (node) => node.kind === "request" || node.kind === "dependency";
const ending = (node) => node.offsetMs + node.tookMs;

function span(ms) {
  if (ms >= 60_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  if (ms >= 1_000) return `${(ms / 1000).toFixed(ms >= 10_000 ? 1 : 2)} s`;
  return ms >= 10 || ms === 0 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}

function showTrace(change) {
  trace.open = change.correlationId;
  trace.drawn = null;
  $("trace-tree").replaceChildren();
  $("trace-axis").replaceChildren();
  $("trace-note").textContent = "";
  $("trace-command").textContent = `dvsync trace ${change.correlationId}`;
  $("trace-kql").textContent = "";
  drawFacts(change, null);
  $("trace").showModal();
  lookAtTrace(change);
}

async function lookAtTrace(change) {
  const id = change.correlationId;
  clearTimeout(trace.timer);
  try {
    const answer = await fetch(`trace/${id}.json`, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const told = await answer.json();
    if (trace.open !== id) return;
    drawTrace(current(change), told);
    if (!told.telemetry) return;
  } catch {
    if (trace.open !== id) return;
    $("trace-note").textContent = "The run does not answer.";
  }
  trace.timer = setTimeout(() => lookAtTrace(change), 1000);
}

// The change as the page knows it by now.
const current = (change) => latest?.changes.find((c) => c.correlationId === change.correlationId && c.row === change.row) ?? change;

function drawTrace(change, told) {
  const text = JSON.stringify([change, told]);
  if (text === trace.drawn) return;
  trace.drawn = text;
  $("trace-command").textContent = told.command;
  $("trace-command").parentElement.hidden = !told.telemetry;
  $("trace-kql").textContent = told.kql;
  drawFacts(change, told.story);
  $("trace-note").textContent = note(change, told);
  if (!told.story) return;
  const whole = Math.max(1, told.story.tookMs);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const tick = element("span", share === 0 ? "0" : span(whole * share));
    tick.style.left = `${share * 100}%`;
    return tick;
  });
  $("trace-axis").replaceChildren(...ticks);
  const step = Math.min(1.1, 11 / Math.max(1, deepest(told.story.roots)));
  $("trace-tree").replaceChildren(...told.story.roots.map((node) => branch(node, 0, null, whole, step)));
}

function note(change, told) {
  if (!told.telemetry) return "No trace: this run was started with --no-telemetry.";
  if (!told.story) return "Arriving: nothing of this change has been told yet.";
  const roles = new Set();
  const visit = (node) => { if (node.kind === "request") roles.add(node.role); node.children.forEach(visit); };
  told.story.roots.forEach(visit);
  if (["refused", "dead-lettered"].includes(change.outcome)) return "Given up: it is among the dead letters.";
  if (!change.outcome) return "";
  const ended = ["acknowledged", "deleted"].includes(change.outcome);
  if (ended && roles.has("inbound-fn")) return "";
  return ended ? "Arriving: the last of it has not been told yet." : `Still ${change.outcome}: what comes is added here.`;
}

function drawFacts(change, story) {
  const facts = [["Row", change.row], ["Correlation", change.correlationId]];
  if (change.operation) facts.push(["Change", `${change.operation}, version ${change.version}`], ["Outcome", change.outcome]);
  const steps = change.saved ? ["delivered", "acknowledged"].filter((step) => change[step] !== null) : [];
  if (steps.length) facts.push(["Lag", steps.map((step) => `${step} ${duration(since(change, step))} after the save`).join(", ")]);
  if (story) {
    const retries = story.retries === 1 ? "1 retry" : `${story.retries} retries`;
    facts.push(["Operation", story.operations.join(", ")], ["Took", `${span(story.tookMs)}, ${retries}`]);
  }
  $("trace-facts").replaceChildren(...facts.map(([name, fact]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", fact, name === "Outcome" ? `word ${TONES[fact] ?? ""}` : null));
    return pair;
  }));
}

const deepest = (nodes) => nodes.reduce((depth, node) => Math.max(depth, 1 + deepest(node.children)), 0);

// What an item was, as `dvsync trace` says it.
function words(node) {
  const said = [];
  if (node.linked) said.push("shared:");
  if (node.kind === "exception") return `${node.name}: ${node.detail}`;
  said.push(node.name);
  if (node.kind === "dependency" && node.detail !== "InProc") {
    const peer = node.properties.peer ?? node.target;
    if (peer) said.push(`→ ${peer}`);
    if (node.result && node.detail === "HTTP") said.push(node.result);
  }
  if (node.retry > 0) said.push(`(retry ${node.retry})`);
  const { disposition, outcome, delay_ms: delay, reason, page_rows: rows } = node.properties;
  if (disposition) said.push(`· ${disposition.replaceAll("_", " ")}`);
  if (delay) said.push(`in ${span(Number(delay))}`);
  if (outcome) said.push(`· ${outcome.replaceAll("_", " ")}`);
  if (reason) said.push(`· ${reason}`);
  if (rows) said.push(`of ${rows} rows`);
  return said.join(" ");
}

function branch(node, depth, parent, whole, step) {
  const item = element("li", null, node.failed ? "failed" : node.kind === "message" ? "warned" : null);
  Object.assign(item.dataset, { kind: node.kind, role: node.role, operation: node.operation, name: node.name });
  if (node.linked) item.dataset.linked = "";
  const line = element("div", null, "span");
  const label = element("span", null, "label");
  label.style.paddingLeft = `${depth * step}rem`;
  if (node.kind === "request" && node.role !== parent?.role || depth === 0) label.append(element("b", node.role, "role"), " ");
  label.append(element("span", (node.failed ? "✖ " : node.kind === "message" ? "▲ " : "") + words(node)));
  line.append(label);
  const track = element("span", null, "track");
  const place = (bar, from, to) => {
    bar.style.left = `${(100 * from) / whole}%`;
    bar.style.width = `${(100 * Math.max(0, to - from)) / whole}%`;
    track.append(bar);
  };
  // From what sent the message to its invocation: on the queue, or waiting for the retry's time.
  if (node.kind === "request" && parent && node.offsetMs > ending(parent)) place(element("i", null, "wait"), ending(parent), node.offsetMs);
  place(element("i", null, isWork(node) ? "bar" : "moment"), node.offsetMs, isWork(node) ? ending(node) : node.offsetMs);
  line.append(element("span", isWork(node) ? span(node.tookMs) : "", "took"), track);
  line.title = `${words(node)}\n+${span(node.offsetMs)} ${node.role}`;
  item.append(line);
  if (node.children.length) {
    const below = element("ol");
    // Why it failed comes first: it was told at the end, behind all that followed.
    const [why, others] = [node.children.filter((child) => child.kind === "exception"), node.children.filter((child) => child.kind !== "exception")];
    below.append(...[...why, ...others].map((child) => branch(child, depth + 1, node, whole, step)));
    item.append(below);
  }
  return item;
}

$("trace").addEventListener("close", () => {
  trace.open = null;
  clearTimeout(trace.timer);
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = $(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    } catch {
      getSelection().selectAllChildren(source);
    }
  });
}
