// What both scripts of the page use. Text goes in as text, never as HTML.
"use strict";
const $ = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const duration = (ms) => (ms === null ? "–" : ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);
const since = (change, step) => (change[step] === null ? null : Math.max(0, change[step] - change.saved));
const short = (row) => row.replace(/(:.{8}).*/, "$1…");
const MARKS = { green: "●", amber: "▲", red: "✖", grey: "○" };
const TONES = { acknowledged: "green", deleted: "green", delivered: "green", retrying: "amber", refused: "red", "dead-lettered": "red" };
