"use strict";
// Replaces the content by the server's every few seconds; computes nothing.

const $ = (id) => document.getElementById(id);
const INTERVAL = 10_000; // ms

let key = null;
let headline = $("headline")?.textContent;
let isLoading = false;

function showProblem(message) {
  $("problem").hidden = message === null;
  $("problem").textContent = message || "";
}

function askForKey() {
  $("main").hidden = true;
  $("key-form").hidden = false;
  showProblem(key === null ? null : "The key is wrong.");
  key = null;
  $("key").value = "";
  $("key").focus();
}

async function fetchContent() {
  if (key !== null && !/^[\x20-\x7e]+$/.test(key)) return { status: 401 };
  return fetch("live/content", { headers: key === null ? {} : { Authorization: `Bearer ${key}` } });
}

function show(content) {
  const scrolled = [...document.querySelectorAll(".wide")].map((one) => one.scrollLeft);
  const focused = [...document.querySelectorAll(".wide")].indexOf(document.activeElement);
  $("main").innerHTML = content; // the server escapes every name, and no script is allowed but this one
  document.querySelectorAll(".wide").forEach((one, n) => {
    one.scrollLeft = scrolled[n] ?? 0;
    if (n === focused) one.focus({ preventScroll: true });
  });
  const now = $("headline").textContent;
  if (now !== headline) $("announcement").textContent = now;
  headline = now;
}

async function load() {
  if (isLoading || document.hidden || ($("main").hidden && key === null)) return;
  isLoading = true;
  try {
    const response = await fetchContent();
    if (response.status === 401) return askForKey();
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(await response.text());
    $("main").hidden = false;
    $("key-form").hidden = true;
    $("main").classList.remove("stale");
    showProblem(null);
  } catch {
    $("main").classList.add("stale");
    showProblem("The server does not respond: what is shown is old. Is 'paretoscope serve' running?");
  } finally {
    isLoading = false;
  }
}

$("key-form").addEventListener("submit", (event) => { event.preventDefault(); key = $("key").value; load(); });
document.addEventListener("visibilitychange", load);
if (document.documentElement.dataset.key === "required") askForKey();
setInterval(load, INTERVAL);
