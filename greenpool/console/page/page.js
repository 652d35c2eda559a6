// The live page: takes server-sent events, keeps all greenlets, and draws the rows that can be seen.
//
// A greenlet is a row of the process's answer: an array with the fields of FIELDS. All text goes in by textContent,
// because names and representations are the program's.
"use strict";

const FIELDS = ["ident", "name", "hub", "state", "born", "since", "spawner", "spawnerIdent", "place", "call", "waitsFor",
  "heldBy", "stack"];
const [IDENT, NAME, HUB, STATE, BORN, SINCE, SPAWNER, SPAWNER_IDENT, PLACE, CALL, WAITS, HELD_BY, STACK] =
  FIELDS.keys();
const STATES = ["running", "ready", "parked", "not started"];
const COLUMNS = {name: NAME, hub: HUB, state: STATE, since: SINCE, waits_for: WAITS};
const ROW_HEIGHT = 28;
// Rows that are drawn above and below those that can be seen.
const MARGIN = 8;
// Seconds by which an answer may be late before the page says so.
const PATIENCE = 3;

const byId = (id) => document.getElementById(id);
const viewport = byId("viewport");
const canvas = byId("canvas");

const greenlets = new Map(); // by ident
let stacks = {}; // frames, by number
let stackTexts = {}; // the same in lower case, made when they are searched
let look = null; // the last one, without the greenlets
let clockOffset = 0; // seconds from this clock to that of the process
let items = []; // what the list has, in order: a group or a row
let selected = null; // {kind: "greenlet", ident}, {kind: "group", key} or {kind: "stall", stall}
let view = "groups";
let order = {column: "since", down: false}; // the longest wait first
let ended = false;
const open = new Set(); // keys of groups
const states = new Set(); // those that are wanted; all if it is empty

// Text.

function seconds(value) {
  if (value < 0.1) return `${Math.max(0, Math.round(value * 1000))} ms`;
  if (value < 10) return `${value.toFixed(2)} s`;
  if (value < 60) return `${value.toFixed(1)} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(value % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const number = (value) => value.toLocaleString("en-US");
const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
const baseName = (path) => path.slice(path.lastIndexOf("/") + 1);
const frameText = ([file, line, name]) => `${baseName(file)}:${line} ${name}`;
const now = () => (ended && look ? look.time : Date.now() / 1000 + clockOffset);

function waits(row) {
  const text = [row[CALL], row[WAITS]].filter(Boolean).join(" ");
  return row[HELD_BY].length ? `${text} held by ${row[HELD_BY].join(" and ")}` : text;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// What the server sends.

function take(data) {
  if (data.all) {
    greenlets.clear();
    stacks = {};
    stackTexts = {};
  }
  Object.assign(stacks, data.stacks);
  for (const row of data.greenlets) {
    row.text = null; // what is searched, made when it is
    greenlets.set(row[IDENT], row);
  }
  for (const ident of data.gone) greenlets.delete(ident);
  look = data;
  clockOffset = data.time - Date.now() / 1000;
  say("live", "live");
  showHead();
  showHubs();
  showStalls();
  arrange();
  showDetails();
}

function say(state, text, banner) {
  byId("status").dataset.state = state;
  setText(byId("status"), text);
  const place = byId("banner");
  place.hidden = !banner;
  setText(place, banner || "");
}

function listen() {
  const stream = new EventSource("events");
  stream.addEventListener("look", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("beat", (event) => {
    const {late} = JSON.parse(event.data);
    if (late > PATIENCE) {
      say("late", "no answer", `The answer of the process is late by ${seconds(late)}. Maybe C code keeps the GIL, or the ` +
        "process is stopped.");
    }
  });
  stream.addEventListener("lost", (event) => {
    say("lost", "lost", `The connection to the process is lost: ${JSON.parse(event.data).reason}. What is shown is old.`);
  });
  stream.addEventListener("ended", (event) => {
    stream.close();
    ended = true;
    say("ended", "ended", `${JSON.parse(event.data).reason} What is shown is its last state.`);
    draw();
  });
  stream.onerror = () => {
    if (!ended) say("lost", "lost", "The connection to “greenpool web” is lost. What is shown is old.");
  };
}

// Hubs and stalls.

function showHead() {
  setText(byId("process"), `process ${look.pid}`);
  document.title = `greenpool ${look.pid}`;
  setText(byId("cost"), `${plural(greenlets.size, "greenlet")}. A look takes the process ${seconds(look.cost)}, and there ` +
    `is one every ${seconds(look.interval)}.`);
}

function isStalled(hub) {
  return look.stalls.some((stall) => stall.hub === hub.name && !stall.over);
}

function showHubs() {
  const place = byId("hubs");
  while (place.children.length > look.hubs.length) place.lastChild.remove();
  look.hubs.forEach((hub, index) => {
    let card = place.children[index];
    if (!card) {
      card = element("article", "hub");
      const title = element("h3");
      title.append(element("b"), element("span"));
      card.append(title, element("p", "numbers"), element("p", "numbers"), element("p", "numbers"), element("p", "runs"),
        element("div", "busy"));
      place.append(card);
    }
    const [title, counts, turns, longest, runs, bar] = card.children;
    const stalled = isStalled(hub);
    card.classList.toggle("stalled", stalled);
    setText(title.children[0], hub.name);
    setText(title.children[1], stalled ? "stalled" : hub.state);
    setText(counts, `${number(hub.counts.live)} live, ${number(hub.counts.ready)} ready`);
    // Nothing was watched before the first look.
    const watched = hub.busy !== null;
    setText(turns, watched ? `${Math.round(hub.busy * 100)} % busy, ${number(Math.round(hub.passes))} passes/s` : "–");
    setText(longest, watched ? `longest turn ${seconds(hub.longest)}` : "–");
    let text = hub.state === "asleep" ? "in its poller" : hub.runs ? `runs ${hub.runs}` : "runs its loop";
    if (hub.since !== null && hub.since >= 0.1) text += ` for ${seconds(hub.since)}`;
    if (!hub.answered) text += ", does not answer";
    setText(runs, text);
    runs.title = text;
    bar.style.width = `${Math.round((hub.busy || 0) * 100)}%`;
  });
}

function stallText(stall) {
  const at = new Date(stall.began * 1000).toLocaleTimeString();
  const place = stall.stack.length ? ` at ${frameText(stall.stack[0])}` : "";
  const lasted = stall.over ? "was kept for" : "is kept for";
  const call = stall.blocked_by ? ` (${stall.blocked_by})` : "";
  return `${at}  ${stall.hub} ${lasted} ${seconds(stall.seconds)} by ${stall.runs || "a greenlet"}${place}${call}`;
}

function showStalls() {
  const place = byId("stall-list");
  const shown = look.stalls.slice().reverse();
  byId("stalls").hidden = !shown.length;
  setText(byId("stalls-title"), plural(shown.length, "stall"));
  while (place.children.length > shown.length) place.lastChild.remove();
  shown.forEach((stall, index) => {
    if (!place.children[index]) {
      const line = element("li");
      line.append(element("button"));
      place.append(line);
    }
    const button = place.children[index].firstChild;
    setText(button, stallText(stall));
    button.className = stall.over ? "" : "now";
    button.onclick = () => select({kind: "stall", stall});
  });
}

// Which greenlets are shown, and in which order.

function textOf(row) {
  if (row.text === null) {
    const place = row[PLACE] === null ? "" : row[PLACE].join(" ");
    row.text = [row[NAME], row[HUB], row[STATE], waits(row), row[SPAWNER] || "", place].join("\n").toLowerCase();
  }
  return row.text;
}

function stackText(index) {
  if (index === null) return "";
  if (!(index in stackTexts)) stackTexts[index] = stacks[index].map((frame) => frame.join(" ")).join("\n").toLowerCase();
  return stackTexts[index];
}

function compare(left, right) {
  const column = COLUMNS[order.column];
  const a = left[column], b = right[column];
  if (a === b) return left[IDENT] - right[IDENT];
  if (a === null) return 1;
  if (b === null) return -1;
  return (a < b ? -1 : 1) * (order.down ? -1 : 1);
}

function arrange() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const counts = {};
  const found = [];
  for (const row of greenlets.values()) {
    if (!words.every((word) => textOf(row).includes(word) || stackText(row[STACK]).includes(word))) continue;
    counts[row[STATE]] = (counts[row[STATE]] || 0) + 1;
    if (!states.size || states.has(row[STATE])) found.push(row);
  }
  showStates(counts);
  found.sort(compare);
  items = view === "list" ? found.map((row) => ({row})) : grouped(found);
  setText(byId("found"), `${plural(found.length, "greenlet")} of ${number(greenlets.size)}`);
  draw();
}

function grouped(rows) {
  const groups = new Map();
  for (const row of rows) {
    const key = `${row[STATE]}|${row[CALL]}|${row[STACK]}`;
    const group = groups.get(key);
    if (group) group.rows.push(row);
    else groups.set(key, {key, rows: [row]});
  }
  const made = [];
  for (const group of [...groups.values()].sort((a, b) => b.rows.length - a.rows.length)) {
    made.push({group});
    if (open.has(group.key)) for (const row of group.rows) made.push({row, member: true});
  }
  return made;
}

function showStates(counts) {
  const place = byId("states");
  if (!place.children.length) {
    for (const state of STATES) {
      const button = element("button");
      button.type = "button";
      button.dataset.state = state;
      button.onclick = () => {
        if (!states.delete(state)) states.add(state);
        arrange();
      };
      place.append(button);
    }
  }
  for (const button of place.children) {
    const state = button.dataset.state;
    setText(button, `${state} ${number(counts[state] || 0)}`);
    button.setAttribute("aria-pressed", states.has(state));
  }
}

// The list. Its rows are drawn anew from a stock of elements, so there are as many as can be seen.

const stock = [];

function makeRow() {
  const made = element("div", "row");
  made.setAttribute("role", "option");
  made.append(element("span", "name"), element("span", "hub-name"), element("span", "state"), element("span", "since"),
    element("span", "waits mono"));
  made.onclick = () => choose(made.item);
  canvas.append(made);
  stock.push(made);
  return made;
}

function range(rows) {
  const moments = rows.map((row) => row[SINCE]).filter((since) => since !== null);
  if (!moments.length) return "";
  const at = now();
  const longest = seconds(at - moments.reduce((a, b) => Math.min(a, b)));
  const shortest = seconds(at - moments.reduce((a, b) => Math.max(a, b)));
  return shortest === longest ? longest : `≤ ${longest}`;
}

function groupText({key, rows}) {
  const [first] = rows;
  const stack = first[STACK] === null ? [] : stacks[first[STACK]];
  const call = first[CALL] ? ` in ${first[CALL]}` : "";
  const place = stack.length ? ` at ${frameText(stack[0])}` : "";
  return `${open.has(key) ? "▾" : "▸"} ${number(rows.length)} ${first[STATE]}${call}${place}`;
}

function fill(made, item) {
  made.item = item;
  const [name, hub, state, since, wait] = made.children;
  const group = item.group;
  made.className = group ? "row group" : item.member ? "row member" : "row";
  for (const cell of [hub, state, wait]) cell.hidden = Boolean(group);
  if (group) {
    setText(name, groupText(group));
    setText(since, range(group.rows));
  } else {
    const row = item.row;
    setText(name, row[NAME]);
    setText(hub, row[HUB]);
    setText(state, row[STATE]);
    state.dataset.state = row[STATE];
    setText(since, row[SINCE] === null ? "" : seconds(now() - row[SINCE]));
    setText(wait, waits(row));
  }
  made.setAttribute("aria-selected", isSelected(item));
}

function draw() {
  canvas.style.height = `${items.length * ROW_HEIGHT}px`;
  const first = Math.max(0, Math.floor(viewport.scrollTop / ROW_HEIGHT) - MARGIN);
  const end = Math.min(items.length, Math.ceil((viewport.scrollTop + viewport.clientHeight) / ROW_HEIGHT) + MARGIN);
  for (let index = first; index < end; index++) {
    const made = stock[index - first] || makeRow();
    made.hidden = false;
    made.style.transform = `translateY(${index * ROW_HEIGHT}px)`;
    fill(made, items[index]);
  }
  for (let index = Math.max(0, end - first); index < stock.length; index++) stock[index].hidden = true;
}

let drawing = false;
function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

// The choice, and its details.

function isSelected(item) {
  if (!selected) return false;
  return item.group ? selected.key === item.group.key : selected.ident === item.row[IDENT];
}

function choose(item) {
  if (item.group) {
    if (!open.delete(item.group.key)) open.add(item.group.key);
    selected = {kind: "group", key: item.group.key};
    arrange();
    showDetails(true);
  } else {
    select({kind: "greenlet", ident: item.row[IDENT], last: item.row});
  }
}

function select(choice) {
  selected = choice;
  draw();
  showDetails(true);
}

function link(text, ident) {
  if (!greenlets.has(ident)) return element("span", "", text);
  const made = element("button", "link", text);
  made.type = "button";
  made.onclick = () => select({kind: "greenlet", ident, last: greenlets.get(ident)});
  return made;
}

function linkByName(name) {
  for (const row of greenlets.values()) if (row[NAME] === name) return link(name, row[IDENT]);
  return element("span", "", name);
}

function addPart(place, title, ...contents) {
  place.append(element("h3", "", title));
  const line = element("p");
  line.append(...contents);
  place.append(line);
}

function addStack(place, frames) {
  place.append(element("h3", "", "Stack, the innermost call first"));
  if (frames === null) place.append(element("p", "hint", "Not known: its hub does not answer."));
  else if (!frames.length) place.append(element("p", "hint", "No call of the program itself."));
  for (const [file, line, name] of frames || []) {
    const made = element("code", "frame");
    made.append(element("b", "", name), element("span", "", `  ${file}:${line}`));
    place.append(made);
  }
}

function counted(rows, textOfRow) {
  const counts = new Map();
  for (const row of rows) {
    const text = textOfRow(row);
    if (text) counts.set(text, (counts.get(text) || 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function addCounts(place, title, counts) {
  if (!counts.length) return;
  place.append(element("h3", "", title));
  for (const [text, count] of counts.slice(0, 8)) {
    place.append(element("p", "", count > 1 ? `${text} (${number(count)} times)` : text));
  }
  if (counts.length > 8) place.append(element("p", "hint", `and ${number(counts.length - 8)} more`));
}

function spawnedText(row) {
  return row[PLACE] === null ? "" : `${row[SPAWNER] || "the program"} at ${row[PLACE][0]}:${row[PLACE][1]} in ${row[PLACE][2]}`;
}

function greenletDetails(place, row, isGone) {
  place.append(element("h2", "", row[NAME]));
  if (isGone) place.append(element("p", "gone", "This greenlet has ended. This is the last that was seen of it."));
  const state = element("span", "state", row[STATE]);
  state.dataset.state = row[STATE];
  const line = element("p");
  line.append(state, row[SINCE] === null ? "" : ` for ${seconds(now() - row[SINCE])}`, ` on ${row[HUB]}`,
    row[BORN] === null ? "" : `, made ${seconds(now() - row[BORN])} ago`);
  place.append(line);
  if (row[CALL] || row[WAITS]) addPart(place, "Waits", [row[CALL], row[WAITS]].filter(Boolean).join(": "));
  if (row[HELD_BY].length) addPart(place, "Held by", ...row[HELD_BY].flatMap((name, index) =>
    index ? [" and ", linkByName(name)] : [linkByName(name)]));
  if (row[PLACE] !== null) {
    addPart(place, "Spawned by", row[SPAWNER_IDENT] === null ? row[SPAWNER] || "the program"
      : link(row[SPAWNER], row[SPAWNER_IDENT]), ` at ${row[PLACE][0]}:${row[PLACE][1]} in ${row[PLACE][2]}`);
  }
  addStack(place, row[STACK] === null ? null : stacks[row[STACK]] || []);
}

function groupDetails(place, rows) {
  const [first] = rows;
  const call = first[CALL] ? ` in ${first[CALL]}` : "";
  place.append(element("h2", "", `${plural(rows.length, "greenlet")} ${first[STATE]}${call}`));
  const longest = range(rows);
  if (longest) place.append(element("p", "", `for ${longest}`));
  addCounts(place, "Wait", counted(rows, (row) => row[HELD_BY].length ? `${row[WAITS]} held by ${row[HELD_BY].join(" and ")}`
    : row[WAITS]));
  addCounts(place, "Spawned by", counted(rows, spawnedText));
  addStack(place, first[STACK] === null ? null : stacks[first[STACK]] || []);
}

function stallDetails(place, stall) {
  place.append(element("h2", "", `${stall.hub} ${stall.over ? "was" : "is"} kept by ${stall.runs || "a greenlet"}`));
  place.append(element("p", "", `for at least ${seconds(stall.seconds)}, since ` +
    new Date(stall.began * 1000).toLocaleTimeString()));
  if (stall.blocked_by) addPart(place, "In a call that blocks", stall.blocked_by);
  if (stall.runs) addPart(place, "Greenlet", linkByName(stall.runs));
  addStack(place, stall.stack);
}

// Whether the user has selected text in the details, or is about to press one of their buttons.
function isInUse(place) {
  const selection = document.getSelection();
  return place.contains(document.activeElement) || (!selection.isCollapsed && place.contains(selection.anchorNode));
}

function showDetails(isNew) {
  if (!selected || (!isNew && isInUse(byId("details")))) return;
  const made = document.createDocumentFragment();
  if (selected.kind === "greenlet") {
    const row = greenlets.get(selected.ident);
    // Another greenlet may have the identifier of one that has ended.
    const isGone = !row || row[NAME] !== selected.last[NAME];
    if (!isGone) selected.last = row;
    greenletDetails(made, selected.last, isGone);
  } else if (selected.kind === "group") {
    const rows = items.find((item) => item.group && item.group.key === selected.key)?.group.rows;
    if (rows) groupDetails(made, rows);
    else made.append(element("p", "gone", "No greenlet is left of this group."));
  } else {
    const found = look.stalls.find((stall) => stall.hub === selected.stall.hub && stall.began === selected.stall.began);
    stallDetails(made, found || selected.stall);
  }
  byId("details").replaceChildren(made);
}

// What the user does.

let searching = 0;
byId("search").addEventListener("input", () => {
  clearTimeout(searching);
  searching = setTimeout(() => {
    viewport.scrollTop = 0;
    arrange();
  }, 80);
});

for (const button of byId("views").children) {
  button.onclick = () => {
    view = button.dataset.view;
    for (const each of byId("views").children) each.setAttribute("aria-pressed", each === button);
    viewport.scrollTop = 0;
    arrange();
  };
}

function showOrder() {
  for (const button of byId("head").children) {
    button.dataset.order = button.dataset.column !== order.column ? "" : order.down ? "down" : "up";
  }
}

for (const button of byId("head").children) {
  button.type = "button";
  button.onclick = () => {
    const column = button.dataset.column;
    order = {column, down: order.column === column && !order.down};
    showOrder();
    arrange();
  };
}

viewport.addEventListener("scroll", drawSoon, {passive: true});
new ResizeObserver(drawSoon).observe(viewport);

viewport.addEventListener("keydown", (event) => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  const at = items.findIndex(isSelected);
  if (step) {
    event.preventDefault();
    const next = Math.min(items.length - 1, Math.max(0, at + step));
    const item = items[next];
    if (!item) return;
    viewport.scrollTop = Math.min(next * ROW_HEIGHT, Math.max(viewport.scrollTop,
      (next + 1) * ROW_HEIGHT - viewport.clientHeight));
    select(item.group ? {kind: "group", key: item.group.key} : {kind: "greenlet", ident: item.row[IDENT], last: item.row});
  } else if (event.key === "Enter" && at >= 0) {
    choose(items[at]);
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== byId("search")) {
    event.preventDefault();
    byId("search").focus();
  }
});

// Times go on between two looks; a page that nobody sees draws nothing.
setInterval(() => {
  if (!ended && look && !document.hidden) {
    draw();
    showDetails();
  }
}, 1000);

showOrder();
showStates({});
listen();
