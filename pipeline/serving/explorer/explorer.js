"use strict";
// Renders the server's responses; computes only layout.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const FRONT = { wide: 480, high: 320, left: 58, right: 16, top: 12, bottom: 46 };
const STRIP = { wide: 440, high: 56, edge: 10 };
const LISTS_DELAY = 150; // ms after the last change of the preference
const ANNOUNCE_DELAY = 900; // ms, so that screen readers do not read every step of a slider
const RETRY_DELAY = 400; // ms after 429 or 503

let key = null;
let state = null;
let preference = [];
let session = []; // item ids
let nextItem = null; // the next click of a test session; null if the session was typed
let view = null; // the response of explore/preference
let lists = null;

/* ---------- requests ---------- */

class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function request(path, body) {
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  const options = body ? { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) } : { headers };
  if (key !== null && !/^[\x20-\x7e]+$/.test(key)) throw new RequestError(401, "");
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new RequestError(0, "The server does not respond. Is it running?");
  }
  const content = await response.json().catch(() => ({}));
  if (response.ok) return content;
  const message = typeof content.detail === "string" ? content.detail : (content.detail || []).map((field) => `${field.loc.slice(1).join(" ")}: ${field.msg}`).join("; ");
  throw new RequestError(response.status, message || `The server responded with status ${response.status}.`);
}

// Runs one call at a time; calls in between are merged into one.
function latest(call) {
  let running = false;
  let isWanted = false;
  return async function run() {
    isWanted = true;
    if (running) return;
    running = true;
    while (isWanted) {
      isWanted = false;
      try {
        await call();
        showProblem(null);
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        if (error.status === 429 || error.status === 503) {
          showProblem(error.status === 503 ? `${error.message}.` : null);
          await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
          isWanted = true;
        } else if (error.status === 409 || error.status === 404) {
          await open(); // the server has loaded another study
        } else {
          handleError(error);
        }
      }
    }
    running = false;
  };
}

function debounced(call, delay) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, delay);
  };
}

function showProblem(message) {
  $("problem").hidden = message === null;
  $("problem").textContent = message || "";
}

function handleError(error) {
  if (error.status === 401) {
    $("main").hidden = true;
    $("key-form").hidden = false;
    showProblem(key === null ? null : "The key is wrong.");
    key = null;
    $("key").value = "";
    $("key").focus();
  } else {
    showProblem(error.message);
  }
}

/* ---------- elements ---------- */

function replace(node, ...children) {
  node.replaceChildren(...children);
  return node;
}

function html(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const announce = debounced(() => { $("announcement").textContent = summary(); }, ANNOUNCE_DELAY);

function weightsText(weights) {
  return state.objectives.map((name, n) => `${name} ${weights[n].toFixed(2)}`).join(", ");
}

// Decimals that show two significant digits of the standard error.
function decimals(error) {
  return error > 0 ? Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(error)))) : 4;
}

function formatKpi(kpi, value, error) {
  return kpi.is_rate ? `${(100 * value).toFixed(decimals(100 * error))}%` : value.toFixed(decimals(error));
}

function formatWithInterval(kpi, { rate, low, high }) {
  const [value, from, to] = [rate, low, high].map((one) => formatKpi(kpi, one, (high - low) / 2));
  return `${value} (${from} to ${to})`;
}

/* ---------- preference ---------- */

function renderSliders() {
  const two = state.objectives.length === 2;
  const sliders = state.objectives.slice(0, two ? 1 : undefined).map((name, n) => {
    const input = html("input", { type: "range", min: 0, max: 1, step: 0.01, id: `weight-${n}`, "aria-label": two ? `Weight of ${name}; ${state.objectives[1]} has the remaining weight` : `Weight of ${name}` });
    input.addEventListener("input", () => setPreference(withWeight(n, Number(input.value))));
    if (two) return html("div", {}, input, html("div", { class: "ends", id: "ends" }));
    return html("div", {}, html("div", { class: "ends" }, html("label", { for: `weight-${n}` }, name), html("span", { id: `value-${n}` })), input);
  });
  replace($("sliders"), ...sliders);
}

// Sets one weight; the others keep their proportions.
function withWeight(changed, value) {
  const rest = preference.reduce((sum, weight, n) => (n === changed ? sum : sum + weight), 0);
  return preference.map((weight, n) => {
    if (n === changed) return value;
    return rest > 0 ? (weight / rest) * (1 - value) : (1 - value) / (preference.length - 1);
  });
}

function setPreference(weights) {
  preference = weights;
  updateSliders();
  loadPreference();
  loadListsSoon();
}

function updateSliders() {
  for (const [n, weight] of preference.entries()) {
    const input = $(`weight-${n}`);
    if (!input) continue;
    if (document.activeElement !== input || Math.abs(input.value - weight) > 0.006) input.value = weight;
    input.setAttribute("aria-valuetext", weightsText(preference));
    if ($(`value-${n}`)) $(`value-${n}`).textContent = weight.toFixed(2);
  }
  const [first, second] = state.objectives;
  if ($("ends")) replace($("ends"), html("span", {}, `${second} ${preference[1].toFixed(2)}`), html("span", {}, `${first} ${preference[0].toFixed(2)}`));
}

const group = () => $("group").value;

function renderGroups() {
  const before = group();
  replace($("group"), ...state.groups.map((one) => html("option", { value: one.name }, one.label)));
  if (state.groups.some((one) => one.name === before)) $("group").value = before;
  replace($("jumps"), html("span", { class: "soft" }, "Select"), ...state.groups.map((one) => {
    const button = html("button", { type: "button" }, one.label);
    button.addEventListener("click", () => setPreference(one.preference));
    return button;
  }));
}

/* ---------- Pareto front ---------- */

function scale(values, from, to) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  return { low: low - margin, high: high + margin, at: (value) => from + ((value - low + margin) / (high - low + 2 * margin)) * (to - from) };
}

function ticks({ low, high }) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * power >= rough) * power;
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) values.push(value);
  return values.map((value) => [value, value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))]);
}

let frontScale = null;

function renderFront() {
  const { front } = state;
  if (!front || !front.points.length) {
    frontScale = null;
    const why = front ? `${front.x_metric} or ${front.y_metric} is undefined for every preference` : "the offline metrics are missing";
    return void replace($("front"), html("p", { class: "soft" }, `No figure: ${why}.`));
  }
  const { wide, high, left, right, top, bottom } = FRONT;
  const ends = (name) => front.points.flatMap((p) => [p[name] - p[`${name}_error`], p[name] + p[`${name}_error`]]);
  const x = scale(ends("x"), left, wide - right);
  const y = scale(ends("y"), high - bottom, top);
  frontScale = { x, y };
  const groups = new Map();
  for (const one of state.groups) groups.set(one.preference_id, [...(groups.get(one.preference_id) || []), one.name]);
  const axes = [
    ...ticks(x).map(([value, text]) => svg("g", {}, svg("line", { class: "axis", x1: x.at(value), x2: x.at(value), y1: top, y2: high - bottom }), svg("text", { x: x.at(value), y: high - bottom + 16, "text-anchor": "middle" }, text))),
    ...ticks(y).map(([value, text]) => svg("g", {}, svg("line", { class: "axis", x1: left, x2: wide - right, y1: y.at(value), y2: y.at(value) }), svg("text", { x: left - 6, y: y.at(value) + 4, "text-anchor": "end" }, text))),
    svg("text", { x: (left + wide - right) / 2, y: high - 6, "text-anchor": "middle" }, front.x_metric),
    svg("text", { x: 12, y: (top + high - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(top + high - bottom) / 2})` }, front.y_metric),
  ];
  const errors = front.points.flatMap((p) => [
    svg("line", { class: "error", x1: x.at(p.x - p.x_error), x2: x.at(p.x + p.x_error), y1: y.at(p.y), y2: y.at(p.y) }),
    svg("line", { class: "error", x1: x.at(p.x), x2: x.at(p.x), y1: y.at(p.y - p.y_error), y2: y.at(p.y + p.y_error) }),
  ]);
  const line = state.objectives.length === 2 ? [svg("polyline", { class: "front-line", points: front.points.filter((p) => p.is_neutral).map((p) => `${x.at(p.x)},${y.at(p.y)}`).join(" ") })] : [];
  const points = front.points.map((p) => {
    const names = groups.get(p.preference_id);
    const dot = svg("circle", { class: `${names ? "group" : "measured"}${p.is_neutral ? "" : " other-level"}`, cx: x.at(p.x), cy: y.at(p.y), r: names ? 6 : 4 });
    const weights = weightsText(p.preference) + (p.is_neutral ? "" : `, ${p.preference_id}`);
    dot.append(svg("title", {}, `${names ? `${names.join(", ")}: ` : ""}${weights}; ${front.x_metric} ${p.x.toFixed(4)} ± ${p.x_error.toFixed(4)}, ${front.y_metric} ${p.y.toFixed(4)} ± ${p.y_error.toFixed(4)}`));
    dot.addEventListener("click", () => setPreference(p.preference));
    return dot;
  });
  const here = svg("circle", { class: "here", id: "here", r: 10 });
  const label = `${front.y_metric} against ${front.x_metric} of every measured preference; the groups are labelled, the ring is the current preference. The table of offline metrics has the values.`;
  const figure = svg("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": label }, ...axes, ...line, ...errors, ...points, ...groupNames(groups, x, y), here);
  replace($("front"), figure, html("p", { class: "soft" }, `Bars are ± 1 standard error. Click a point to select its preference.${undefinedPoints(front)}${otherLevels(front)}`));
}

function otherLevels({ points }) {
  return points.every((p) => p.is_neutral) ? "" : " Dashed points have another level of the second axis; the sliders are at its neutral level.";
}

function undefinedPoints({ undefined: missing, x_metric, y_metric }) {
  return missing.length ? ` No point: ${missing.join(", ")} (${x_metric} or ${y_metric} is undefined).` : "";
}

// Labels are above and right of their points; a label that would overlap another is below.
function groupNames(groups, x, y) {
  const taken = [];
  return state.front.points.filter((p) => groups.has(p.preference_id)).map((p) => {
    const at = [x.at(p.x) + 9, y.at(p.y) - 9];
    const isTaken = () => taken.some(([a, b]) => Math.abs(a - at[0]) < 24 && Math.abs(b - at[1]) < 13);
    if (isTaken()) at.splice(0, 2, x.at(p.x) - 26, y.at(p.y) + 20);
    while (isTaken()) at[1] += 13;
    taken.push(at);
    return svg("text", { class: "group-name", x: at[0], y: at[1] }, groups.get(p.preference_id).join(", "));
  });
}

/* ---------- metrics and KPIs of the preference ---------- */

const loadPreference = latest(async () => {
  const found = await request("explore/preference", { preference, group: group() });
  if (found.model !== state.model) return open();
  view = found;
  showMeasured();
  showKpis();
  showMetrics();
  announce();
});

function showMeasured() {
  const id = view.measured_preference;
  const groups = state.groups.filter((one) => one.preference_id === id).map((one) => one.name);
  const text = id ? `Measured preference ${id}${groups.length ? `, served to ${groups.join(" and ")}` : ""}.` : "Not measured: metrics are interpolated.";
  $("measured").textContent = view.metrics.length ? text : "";
  const here = $("here");
  if (!here) return;
  const known = view.x !== null && view.y !== null;
  here.setAttribute("opacity", known ? 1 : 0);
  if (!known) return;
  here.setAttribute("cx", frontScale.x.at(view.x));
  here.setAttribute("cy", frontScale.y.at(view.y));
}

function showKpis() {
  if (!view.kpis.length) return void replace($("kpis"), html("p", { class: "soft" }, "No experiment results yet."));
  replace($("kpis"), ...view.kpis.map((kpi) => {
    const compared = kpi.groups.find((one) => one.group === view.group);
    const head = html("div", { class: "kpi-head" }, html("span", {}, `${kpi.hypothesis}: ${kpi.metric} → ${kpi.kpi}`), html("span", { class: `verdict ${kpi.verdict.replace(" ", "-")}` }, kpi.verdict));
    const value = html("p", { class: "kpi-value" });
    if (kpi.expected) {
      const { rate, low, high, level } = kpi.expected;
      const error = (high - low) / 2;
      value.append(html("b", {}, formatKpi(kpi, rate, error)), ` (${Math.round(100 * level)}% CI ${formatKpi(kpi, low, error)} to ${formatKpi(kpi, high, error)})`);
    } else {
      value.append("no value");
    }
    const observed = compared ? `Observed in ${view.group}: ${formatWithInterval(kpi, compared)}. ` : "";
    return html("div", { class: "kpi" }, head, value, kpiStrip(kpi), html("p", { class: "notes" }, observed + kpi.notes.join(" ")));
  }));
}

// The groups' KPIs with confidence intervals, and the expected KPI above them.
function kpiStrip(kpi) {
  if (!kpi.groups.length) return "";
  const x = scale(kpi.groups.flatMap((one) => [one.low, one.high]), STRIP.edge, STRIP.wide - STRIP.edge);
  const within = (value) => Math.min(STRIP.wide - 2, Math.max(2, x.at(value)));
  const groups = kpi.groups.flatMap((one) => {
    const compared = one.group === view.group ? " compared" : "";
    const dot = svg("circle", { class: "group", cx: x.at(one.rate), cy: 30, r: compared ? 5 : 3.5 });
    dot.append(svg("title", {}, `${one.group}: ${formatKpi(kpi, one.rate, (one.high - one.low) / 2)}`));
    const name = compared ? [svg("text", { x: x.at(one.rate), y: 48, "text-anchor": "middle" }, one.group)] : [];
    return [...name, svg("line", { class: `group${compared}`, x1: x.at(one.low), x2: x.at(one.high), y1: 30, y2: 30 }), dot];
  });
  const here = kpi.expected ? [svg("line", { class: "here", x1: within(kpi.expected.low), x2: within(kpi.expected.high), y1: 12, y2: 12 }), svg("circle", { class: "here-fill", cx: within(kpi.expected.rate), cy: 12, r: 6 })] : [];
  return svg("svg", { viewBox: `0 0 ${STRIP.wide} ${STRIP.high}`, role: "img", "aria-label": `${kpi.kpi} of the groups with confidence intervals${kpi.expected ? ", and the expected value above them" : ""}` }, svg("line", { class: "axis", x1: 0, x2: STRIP.wide, y1: 30, y2: 30 }), ...groups, ...here);
}

function showMetrics() {
  const { metrics } = view;
  $("metrics-note").textContent = metrics.length ? (view.measured_preference ? "Measured on the test set, ± 1 standard error." : "Interpolated between the nearest measured preferences, without standard errors.") : "No offline metrics yet.";
  const head = html("thead", {}, html("tr", {}, ...["Metric", "Preference", view.group, "Change"].map((title) => html("th", { scope: "col" }, title))));
  const rows = metrics.map((one) => {
    const show = (value) => (value === null ? "undefined" : value.toFixed(decimals(one.standard_error)));
    const change = one.value !== null && one.group_value ? 100 * (one.value / one.group_value - 1) : null;
    const signed = change === null ? "" : `${change > 0 ? "+" : change < 0 ? "−" : ""}${Math.abs(change).toFixed(1)}%`;
    const name = one.name + (one.higher_is_better ? "" : " (lower is better)");
    return html("tr", {}, html("th", { scope: "row" }, name), html("td", {}, show(one.value) + (one.standard_error === null ? "" : ` ± ${show(one.standard_error)}`)), html("td", {}, show(one.group_value)), html("td", {}, signed));
  });
  replace($("metrics"), head, html("tbody", {}, ...rows));
}

/* ---------- lists ---------- */

function renderSessions() {
  const options = state.sessions.map((one, n) => html("option", { value: n }, `Session ${n + 1}: ${one.items.length} clicks, then ${one.next_item.item}`));
  replace($("session"), html("option", { value: "" }, state.sessions.length ? "typed" : "none available"), ...options);
}

function chooseSession(number) {
  const one = state.sessions[number];
  $("session").value = one ? number : "";
  if (!one) return;
  session = one.items.map((item) => item.item);
  nextItem = one.next_item.item;
  $("typed").value = session.join(", ");
  loadLists();
}

function typeSession() {
  const text = $("typed").value;
  const items = text.split(text.includes(",") ? "," : /\s+/).map((id) => id.trim()).filter(Boolean);
  if (!items.length) return;
  session = items;
  nextItem = null;
  $("session").value = "";
  loadLists();
}

const loadLists = latest(async () => {
  if (!session.length) return;
  document.querySelector(".lists").classList.add("stale");
  const next = nextItem;
  const found = await request("explore/lists", { preference, group: group(), session });
  if (found.model !== state.model || found.rules !== state.rules) return open();
  lists = { ...found, nextItem: next };
  document.querySelector(".lists").classList.remove("stale");
  showLists();
  announce();
});
const loadListsSoon = debounced(() => loadLists(), LISTS_DELAY);

function chip(item, extra) {
  return html("span", { class: `item ${extra || ""}` }, item.item + (item.category ? ` · ${item.category}` : ""));
}

function showLists() {
  const items = lists.session.length ? ["Clicked:", ...lists.session.map((item) => chip(item))] : [];
  const sample = state.sessions[$("session").value];
  if (lists.nextItem !== null && sample) items.push("next:", chip(sample.next_item, "next"));
  replace($("session-items"), ...items);
  $("unknown").hidden = !lists.unknown.length;
  $("unknown").textContent = `Ignored, not in the catalogue: ${lists.unknown.join(", ")}.${lists.no_lists_reason ? ` No lists: ${lists.no_lists_reason}.` : ""}`;
  $("difference").textContent = lists.no_lists_reason ? "" : difference();
  $("group-list-title").textContent = `Group ${lists.group}`;
  replace($("preference-list"), ...lists.preference_list.map((item) => row(item, change)));
  replace($("group-list"), ...lists.group_list.map((item) => row(item, (one) => (one.other_position === null ? ["out", "out", "not in this preference's list"] : ["", `now ${one.other_position}`, ""]))));
}

function change(item) {
  const by = item.other_position === null ? null : item.other_position - item.position;
  if (by === null) return ["in", "new", `not in ${lists.group}'s list`];
  if (by > 0) return ["up", `↑ ${by}`, `up ${by}`];
  if (by < 0) return ["down", `↓ ${-by}`, `down ${-by}`];
  return ["", "=", "same position"];
}

function row(item, label) {
  const [type, text, spoken] = label(item);
  const name = html("span", { title: item.item }, item.item, html("span", { class: "category" }, item.category ? ` ${item.category}` : ""));
  const isNext = item.item === lists.nextItem;
  if (isNext) name.append(html("span", { class: "hidden" }, ", clicked next"));
  const mark = html("span", { class: `change ${type}` }, ...(spoken ? [html("span", { "aria-hidden": "true" }, text), html("span", { class: "hidden" }, spoken)] : [text]));
  return html("li", isNext ? { class: "next" } : {}, html("span", { class: "number" }, String(item.position)), name, mark);
}

function difference() {
  const shared = lists.preference_list.filter((item) => item.other_position !== null).length;
  const overlap = `${shared} of ${lists.preference_list.length} items are also in ${lists.group}'s list.`;
  if (lists.nextItem === null) return overlap;
  const position = (list) => list.find((item) => item.item === lists.nextItem)?.position;
  const rank = (list) => (position(list) ? `at position ${position(list)}` : "not in the list");
  return `${overlap} The next click is ${rank(lists.preference_list)} for this preference, ${rank(lists.group_list)} for ${lists.group}.`;
}

/* ---------- page ---------- */

function summary() {
  const kpis = (view?.kpis || []).filter((kpi) => kpi.expected).map((kpi) => `${kpi.hypothesis} ${kpi.kpi} ${formatKpi(kpi, kpi.expected.rate, (kpi.expected.high - kpi.expected.low) / 2)}`);
  const metrics = (view?.metrics || []).slice(0, 2).filter((one) => one.value !== null).map((one) => `${one.name} ${one.value.toFixed(3)}`);
  return [`Preference ${weightsText(preference)}`, metrics.join(", "), kpis.length ? `Expected ${kpis.join(", ")}` : "", lists && !lists.no_lists_reason ? difference() : ""].filter(Boolean).join(". ");
}

async function open() {
  const before = state;
  try {
    state = await request("explore/state");
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return handleError(error);
  }
  showProblem(null);
  $("key-form").hidden = true;
  $("main").hidden = false;
  $("served").textContent = `Experiment ${state.experiment}, model ${state.model}, ${state.items.toLocaleString("en")} items. The explorer logs nothing.`;
  $("missing").hidden = !state.missing.length;
  replace($("missing"), ...state.missing.map((message) => html("li", {}, message)));
  $("rules").textContent = `Ranked by the serving model, as for /recommend. ${state.has_rules ? `Rules and filters (version ${state.rules}) are applied; the offline metrics are without them.` : "The study has no rules and filters."} In the group's list, “now” is the position under this preference.`;
  document.body.style.setProperty("--rows", state.list_length);
  if (preference.length !== state.objectives.length) preference = state.start;
  renderSliders();
  renderGroups();
  renderFront();
  renderSessions();
  updateSliders();
  loadPreference();
  if (before) loadLists();
  else chooseSession(0);
}

$("group").addEventListener("change", () => { loadPreference(); loadLists(); });
$("session").addEventListener("change", () => chooseSession($("session").value));
$("typed-form").addEventListener("submit", (event) => { event.preventDefault(); typeSession(); });
$("key-form").addEventListener("submit", (event) => { event.preventDefault(); key = $("key").value; open(); });
if (document.documentElement.dataset.key === "required") handleError(new RequestError(401, ""));
else open();
