"use strict";
// Shows what the server answers; it computes nothing itself but places on the screen.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const FRONT = { wide: 480, high: 320, left: 58, right: 16, top: 12, bottom: 46 };
const STRIP = { wide: 440, high: 56, edge: 10 };
const WAIT_FOR_LISTS = 150; // ms after the last move
const WAIT_TO_SAY = 900; // ms, so that the whole way of a slider is not read out
const ASK_AGAIN = 400; // ms after "busy"

let key = null;
let state = null;
let preference = [];
let session = []; // ids of items
let nextItem = null; // what was clicked after it; null if it was typed
let place = null;
let lists = null;

/* ---------- asking ---------- */

class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

async function ask(path, body) {
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  const sent = body ? { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) } : { headers };
  if (key !== null && !/^[\x20-\x7e]+$/.test(key)) throw new Refused(401, "");
  let answer;
  try {
    answer = await fetch(path, sent);
  } catch {
    throw new Refused(0, "The server does not answer. Is it still running?");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const words = typeof said.detail === "string" ? said.detail : (said.detail || []).map((fault) => `${fault.loc.slice(1).join(" ")}: ${fault.msg}`).join("; ");
  throw new Refused(answer.status, words || `The server says ${answer.status}.`);
}

// Runs one call at a time; of those that come meanwhile, the last.
function latest(call) {
  let running = false;
  let wanted = false;
  return async function run() {
    wanted = true;
    if (running) return;
    running = true;
    while (wanted) {
      wanted = false;
      try {
        await call();
        problem(null);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (error.status === 429 || error.status === 503) {
          problem(error.status === 503 ? `${error.message}.` : null);
          await new Promise((go) => setTimeout(go, ASK_AGAIN));
          wanted = true;
        } else if (error.status === 409 || error.status === 404) {
          await open(); // another study is served by now
        } else {
          refused(error);
        }
      }
    }
    running = false;
  };
}

function later(call, wait) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, wait);
  };
}

function problem(words) {
  $("problem").hidden = words === null;
  $("problem").textContent = words || "";
}

function refused(error) {
  if (error.status === 401) {
    $("main").hidden = true;
    $("key-form").hidden = false;
    problem(key === null ? null : "This is not the server's key.");
    key = null;
    $("key").value = "";
    $("key").focus();
  } else {
    problem(error.message);
  }
}

/* ---------- building ---------- */

function put(node, ...children) {
  node.replaceChildren(...children);
  return node;
}

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function draw(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const say = later(() => { $("said").textContent = summary(); }, WAIT_TO_SAY);

function weights() {
  return state.objectives.map((name, n) => `${name} ${preference[n].toFixed(2)}`).join(", ");
}

// As many digits as the error allows: two of it.
function digits(error) {
  return error > 0 ? Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(error)))) : 4;
}

function rate(kpi, value, error) {
  return kpi.is_share ? `${(100 * value).toFixed(digits(100 * error))} %` : value.toFixed(digits(error));
}

function withInterval(kpi, { rate: middle, low, high }) {
  const [shown, from, to] = [middle, low, high].map((value) => rate(kpi, value, (high - low) / 2));
  return `${shown} (${from} to ${to})`;
}

/* ---------- the preference ---------- */

function buildSliders() {
  const two = state.objectives.length === 2;
  const sliders = state.objectives.slice(0, two ? 1 : undefined).map((name, n) => {
    const input = make("input", { type: "range", min: 0, max: 1, step: 0.01, id: `weight-${n}`, "aria-label": two ? `Weight of ${name}; ${state.objectives[1]} has the rest` : `Weight of ${name}` });
    input.addEventListener("input", () => move(shift(n, Number(input.value))));
    if (two) return make("div", {}, input, make("div", { class: "ends", id: "ends" }));
    return make("div", {}, make("div", { class: "ends" }, make("label", { for: `weight-${n}` }, name), make("span", { id: `value-${n}` })), input);
  });
  put($("sliders"), ...sliders);
}

// One weight has moved: the others keep their proportions.
function shift(moved, value) {
  const rest = preference.reduce((sum, weight, n) => (n === moved ? sum : sum + weight), 0);
  return preference.map((weight, n) => {
    if (n === moved) return value;
    return rest > 0 ? (weight / rest) * (1 - value) : (1 - value) / (preference.length - 1);
  });
}

function move(to) {
  preference = to;
  showSliders();
  askPlace();
  askListsSoon();
}

function showSliders() {
  for (const [n, weight] of preference.entries()) {
    const input = $(`weight-${n}`);
    if (!input) continue;
    if (document.activeElement !== input || Math.abs(input.value - weight) > 0.006) input.value = weight;
    input.setAttribute("aria-valuetext", weights());
    if ($(`value-${n}`)) $(`value-${n}`).textContent = weight.toFixed(2);
  }
  const [first, second] = state.objectives;
  if ($("ends")) put($("ends"), make("span", {}, `${second} ${preference[1].toFixed(2)}`), make("span", {}, `${first} ${preference[0].toFixed(2)}`));
}

const group = () => $("group").value;

function buildGroups() {
  const before = group();
  put($("group"), ...state.groups.map((one) => make("option", { value: one.name }, one.name)));
  if (state.groups.some((one) => one.name === before)) $("group").value = before;
  put($("jumps"), make("span", { class: "soft" }, "Move to"), ...state.groups.map((one) => {
    const button = make("button", { type: "button" }, one.name);
    button.addEventListener("click", () => move(one.preference));
    return button;
  }));
}

/* ---------- the front ---------- */

function scale(values, from, to) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return { low: low - room, high: high + room, at: (value) => from + ((value - low + room) / (high - low + 2 * room)) * (to - from) };
}

function ticks({ low, high }) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * power >= rough) * power;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found.map((value) => [value, value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))]);
}

let frontScale = null;

function buildFront() {
  const { front } = state;
  if (!front) {
    frontScale = null;
    return void put($("front"), make("p", { class: "soft" }, "There is no picture without the offline metrics."));
  }
  const { wide, high, left, right, top, bottom } = FRONT;
  const all = (name) => front.points.flatMap((p) => [p[name] - p[`${name}_error`], p[name] + p[`${name}_error`]]);
  const x = scale(all("x"), left, wide - right);
  const y = scale(all("y"), high - bottom, top);
  frontScale = { x, y };
  const named = new Map();
  for (const one of state.groups) named.set(one.preference_id, [...(named.get(one.preference_id) || []), one.name]);
  const axes = [
    ...ticks(x).map(([value, text]) => draw("g", {}, draw("line", { class: "axis", x1: x.at(value), x2: x.at(value), y1: top, y2: high - bottom }), draw("text", { x: x.at(value), y: high - bottom + 16, "text-anchor": "middle" }, text))),
    ...ticks(y).map(([value, text]) => draw("g", {}, draw("line", { class: "axis", x1: left, x2: wide - right, y1: y.at(value), y2: y.at(value) }), draw("text", { x: left - 6, y: y.at(value) + 4, "text-anchor": "end" }, text))),
    draw("text", { x: (left + wide - right) / 2, y: high - 6, "text-anchor": "middle" }, front.x_metric),
    draw("text", { x: 12, y: (top + high - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(top + high - bottom) / 2})` }, front.y_metric),
  ];
  const errors = front.points.flatMap((p) => [
    draw("line", { class: "error", x1: x.at(p.x - p.x_error), x2: x.at(p.x + p.x_error), y1: y.at(p.y), y2: y.at(p.y) }),
    draw("line", { class: "error", x1: x.at(p.x), x2: x.at(p.x), y1: y.at(p.y - p.y_error), y2: y.at(p.y + p.y_error) }),
  ]);
  const way = state.objectives.length === 2 ? [draw("polyline", { class: "front-line", points: front.points.map((p) => `${x.at(p.x)},${y.at(p.y)}`).join(" ") })] : [];
  const points = front.points.map((p) => {
    const names = named.get(p.preference_id);
    const dot = draw("circle", { class: names ? "group" : "measured", cx: x.at(p.x), cy: y.at(p.y), r: names ? 6 : 4 });
    const words = state.objectives.map((name, n) => `${name} ${p.preference[n].toFixed(2)}`).join(", ");
    dot.append(draw("title", {}, `${names ? `${names.join(", ")}: ` : ""}${words}; ${front.x_metric} ${p.x.toFixed(4)} ± ${p.x_error.toFixed(4)}, ${front.y_metric} ${p.y.toFixed(4)} ± ${p.y_error.toFixed(4)}`));
    dot.addEventListener("click", () => move(p.preference));
    return dot;
  });
  const here = draw("circle", { class: "here", id: "here", r: 10 });
  const label = `${front.y_metric} against ${front.x_metric} for every measured preference; the groups are named, the ring is the present preference. The numbers stand in the table of offline metrics.`;
  const picture = draw("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": label }, ...axes, ...way, ...errors, ...points, ...groupNames(named, x, y), here);
  put($("front"), picture, make("p", { class: "soft" }, "Bars are ± 1 standard error. Click a point to go there."));
}

// Names stand right above their points; where two would meet, the second stands below.
function groupNames(named, x, y) {
  const taken = [];
  return state.front.points.filter((p) => named.has(p.preference_id)).map((p) => {
    const at = [x.at(p.x) + 9, y.at(p.y) - 9];
    const isTaken = () => taken.some(([a, b]) => Math.abs(a - at[0]) < 24 && Math.abs(b - at[1]) < 13);
    if (isTaken()) at.splice(0, 2, x.at(p.x) - 26, y.at(p.y) + 20);
    while (isTaken()) at[1] += 13;
    taken.push(at);
    return draw("text", { class: "group-name", x: at[0], y: at[1] }, named.get(p.preference_id).join(", "));
  });
}

/* ---------- what a preference means ---------- */

const askPlace = latest(async () => {
  const found = await ask("explore/place", { preference, group: group() });
  if (found.model !== state.model) return open();
  place = found;
  showPlace();
  showKpis();
  showMetrics();
  say();
});

function showPlace() {
  const same = state.groups.filter((one) => one.preference_id === place.measured_as).map((one) => one.name);
  const measured = place.measured_as ? `Measured as ${place.measured_as}${same.length ? `, served as ${same.join(" and ")}` : ""}.` : "Not measured here: metrics are interpolated.";
  $("place").textContent = place.metrics.length ? measured : "";
  const here = $("here");
  if (!here) return;
  const known = place.x !== null && place.y !== null;
  here.setAttribute("opacity", known ? 1 : 0);
  if (!known) return;
  here.setAttribute("cx", frontScale.x.at(place.x));
  here.setAttribute("cy", frontScale.y.at(place.y));
}

function showKpis() {
  if (!place.kpis.length) return void put($("kpis"), make("p", { class: "soft" }, "Nothing is known yet of what happens online."));
  put($("kpis"), ...place.kpis.map((kpi) => {
    const against = kpi.groups.find((one) => one.group === place.group);
    const head = make("div", { class: "kpi-head" }, make("span", {}, `${kpi.hypothesis}: ${kpi.metric} → ${kpi.kpi}`), make("span", { class: `verdict ${kpi.verdict.replace(" ", "-")}` }, kpi.verdict));
    const value = make("p", { class: "kpi-value" });
    if (kpi.expected) {
      const { rate: middle, low, high, level } = kpi.expected;
      const error = (high - low) / 2;
      value.append(make("b", {}, rate(kpi, middle, error)), ` (${Math.round(100 * level)} % interval ${rate(kpi, low, error)} to ${rate(kpi, high, error)})`);
    } else {
      value.append("no value");
    }
    const observed = against ? `${place.group} had ${withInterval(kpi, against)}. ` : "";
    return make("div", { class: "kpi" }, head, value, strip(kpi), make("p", { class: "words" }, observed + kpi.words.join(" ")));
  }));
}

// The groups' rates with their intervals, and the expectation above them.
function strip(kpi) {
  if (!kpi.groups.length) return "";
  const x = scale(kpi.groups.flatMap((one) => [one.low, one.high]), STRIP.edge, STRIP.wide - STRIP.edge);
  const within = (value) => Math.min(STRIP.wide - 2, Math.max(2, x.at(value)));
  const groups = kpi.groups.flatMap((one) => {
    const against = one.group === place.group ? " against" : "";
    const dot = draw("circle", { class: "group", cx: x.at(one.rate), cy: 30, r: against ? 5 : 3.5 });
    dot.append(draw("title", {}, `${one.group}: ${rate(kpi, one.rate, (one.high - one.low) / 2)}`));
    const name = against ? [draw("text", { x: x.at(one.rate), y: 48, "text-anchor": "middle" }, one.group)] : [];
    return [...name, draw("line", { class: `group${against}`, x1: x.at(one.low), x2: x.at(one.high), y1: 30, y2: 30 }), dot];
  });
  const here = kpi.expected ? [draw("line", { class: "here", x1: within(kpi.expected.low), x2: within(kpi.expected.high), y1: 12, y2: 12 }), draw("circle", { class: "here-fill", cx: within(kpi.expected.rate), cy: 12, r: 6 })] : [];
  return draw("svg", { viewBox: `0 0 ${STRIP.wide} ${STRIP.high}`, role: "img", "aria-label": `${kpi.kpi} of the groups with intervals${kpi.expected ? ", and above them what is expected" : ""}` }, draw("line", { class: "axis", x1: 0, x2: STRIP.wide, y1: 30, y2: 30 }), ...groups, ...here);
}

function showMetrics() {
  const { metrics } = place;
  $("metrics-note").textContent = metrics.length ? (place.measured_as ? "Measured on the test set, ± 1 standard error." : "Interpolated between the nearest measured preferences, so without an error of their own.") : "There are none.";
  const head = make("thead", {}, make("tr", {}, ...["Metric", "Here", place.group, "Change"].map((words) => make("th", { scope: "col" }, words))));
  const rows = metrics.map((one) => {
    const show = (value) => (value === null ? "undefined" : value.toFixed(digits(one.standard_error)));
    const change = one.value !== null && one.group_value ? 100 * (one.value / one.group_value - 1) : null;
    const signed = change === null ? "" : `${change > 0 ? "+" : change < 0 ? "−" : ""}${Math.abs(change).toFixed(1)} %`;
    const name = one.name + (one.higher_is_better ? "" : " (less is better)");
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, show(one.value) + (one.standard_error === null ? "" : ` ± ${show(one.standard_error)}`)), make("td", {}, show(one.group_value)), make("td", {}, signed));
  });
  put($("metrics"), head, make("tbody", {}, ...rows));
}

/* ---------- lists ---------- */

function buildSessions() {
  const options = state.sessions.map((one, n) => make("option", { value: n }, `Session ${n + 1}: ${one.items.length} clicks, then ${one.next_item.item}`));
  put($("session"), make("option", { value: "" }, state.sessions.length ? "typed" : "none is there"), ...options);
}

function chooseSession(number) {
  const one = state.sessions[number];
  $("session").value = one ? number : "";
  if (!one) return;
  session = one.items.map((item) => item.item);
  nextItem = one.next_item.item;
  $("typed").value = session.join(", ");
  askLists();
}

function typeSession() {
  const text = $("typed").value;
  const found = text.split(text.includes(",") ? "," : /\s+/).map((id) => id.trim()).filter(Boolean);
  if (!found.length) return;
  session = found;
  nextItem = null;
  $("session").value = "";
  askLists();
}

const askLists = latest(async () => {
  if (!session.length) return;
  document.querySelector(".lists").classList.add("stale");
  const asked = nextItem;
  const found = await ask("explore/lists", { preference, group: group(), session });
  if (found.model !== state.model || found.rules !== state.rules) return open();
  lists = { ...found, nextItem: asked };
  document.querySelector(".lists").classList.remove("stale");
  showLists();
  say();
});
const askListsSoon = later(() => askLists(), WAIT_FOR_LISTS);

function chip(item, extra) {
  return make("span", { class: `item ${extra || ""}` }, item.item + (item.category ? ` · ${item.category}` : ""));
}

function showLists() {
  const known = lists.session.length ? ["Clicked:", ...lists.session.map((item) => chip(item))] : [];
  const visit = state.sessions[$("session").value];
  if (lists.nextItem !== null && visit) known.push("then", chip(visit.next_item, "next"));
  put($("clicked"), ...known);
  $("unknown").hidden = !lists.unknown.length;
  const one = lists.unknown.length === 1;
  $("unknown").textContent = `Not in the catalogue, and left out: ${lists.unknown.join(", ")}.${lists.no_lists_because ? ` There are no lists: ${lists.no_lists_because}.` : ` The lists are for the ${one ? "other items" : "others"}.`}`;
  $("difference").textContent = lists.no_lists_because ? "" : difference();
  $("chosen-title").textContent = `This preference`;
  $("of-group-title").textContent = `Group ${lists.group}`;
  put($("chosen"), ...lists.chosen.map((item) => row(item, moved)));
  put($("of-group"), ...lists.of_group.map((item) => row(item, (it) => (it.other_position === null ? ["out", "out", "not in this preference's list"] : ["", `now ${it.other_position}`, ""]))));
}

function moved(item) {
  const by = item.other_position === null ? null : item.other_position - item.position;
  if (by === null) return ["in", "new", `not in ${lists.group}'s list`];
  if (by > 0) return ["up", `↑ ${by}`, `up ${by}`];
  if (by < 0) return ["down", `↓ ${-by}`, `down ${-by}`];
  return ["", "=", "same place"];
}

function row(item, mark) {
  const [kind, words, spoken] = mark(item);
  const name = make("span", { title: item.item }, item.item, make("span", { class: "kind" }, item.category ? ` ${item.category}` : ""));
  const isNext = item.item === lists.nextItem;
  if (isNext) name.append(make("span", { class: "hidden" }, ", clicked next"));
  const shown = make("span", { class: `moved ${kind}` }, ...(spoken ? [make("span", { "aria-hidden": "true" }, words), make("span", { class: "hidden" }, spoken)] : [words]));
  return make("li", isNext ? { class: "next" } : {}, make("span", { class: "number" }, String(item.position)), name, shown);
}

function difference() {
  const shared = lists.chosen.filter((item) => item.other_position !== null).length;
  const same = `${shared} of ${lists.chosen.length} items are in ${lists.group}'s list, too.`;
  if (lists.nextItem === null) return same;
  const at = (list) => list.find((item) => item.item === lists.nextItem)?.position;
  const where = (list) => (at(list) ? `at place ${at(list)}` : "not in the list");
  return `${same} What was clicked next is ${where(lists.chosen)} here, ${where(lists.of_group)} for ${lists.group}.`;
}

/* ---------- the whole ---------- */

function summary() {
  const kpis = (place?.kpis || []).filter((kpi) => kpi.expected).map((kpi) => `${kpi.hypothesis} ${kpi.kpi} ${rate(kpi, kpi.expected.rate, (kpi.expected.high - kpi.expected.low) / 2)}`);
  const main = (place?.metrics || []).slice(0, 2).filter((one) => one.value !== null).map((one) => `${one.name} ${one.value.toFixed(3)}`);
  return [`Preference ${weights()}`, main.join(", "), kpis.length ? `Expected ${kpis.join(", ")}` : "", lists && !lists.no_lists_because ? difference() : ""].filter(Boolean).join(". ");
}

async function open() {
  const before = state;
  try {
    state = await ask("explore/state");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return refused(error);
  }
  problem(null);
  $("key-form").hidden = true;
  $("main").hidden = false;
  $("served").textContent = `Experiment ${state.experiment}, model ${state.model}, ${state.items.toLocaleString("en")} items. Nothing shown here is logged.`;
  $("missing").hidden = !state.missing.length;
  put($("missing"), ...state.missing.map((words) => make("li", {}, words)));
  $("rules").textContent = `Made by the model that is served now, as /recommend makes its lists. ${state.has_rules ? `The study's rules and filters (version ${state.rules}) are applied; the offline metrics are those of the model without them.` : "The study has no rules and filters."} In the group's list, “now” is the place under this preference.`;
  document.body.style.setProperty("--rows", state.list_length);
  if (preference.length !== state.objectives.length) preference = state.start;
  buildSliders();
  buildGroups();
  buildFront();
  buildSessions();
  showSliders();
  askPlace();
  if (before) askLists();
  else chooseSession(0);
}

$("group").addEventListener("change", () => { askPlace(); askLists(); });
$("session").addEventListener("change", () => chooseSession($("session").value));
$("typed-form").addEventListener("submit", (event) => { event.preventDefault(); typeSession(); });
$("key-form").addEventListener("submit", (event) => { event.preventDefault(); key = $("key").value; open(); });
if (document.documentElement.dataset.key === "needed") refused(new Refused(401, ""));
else open();
