"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { lanes, greenlets, waits, stacks, names } = data;

  // The rows of the data, by the names of their columns.
  const START = 0, END = 1, WHO = 2, HOW = 3, AFTER = 4, BEFORE = 5, RUN = 6;
  const OUTCOMES = ["", "parks", "yields", "ends"];
  const G = { name: 0, hub: 1, kind: 2, function: 3, spawned: 4, spawner: 5, spawnerName: 6, at: 7, ended: 8 };
  const W = {
    greenlet: 0, start: 1, end: 2, call: 3, phrase: 4, stack: 5, woken: 6, wakerHub: 7, waker: 8, wakerName: 9,
  };

  const LABELS = 150, RULER = 26, LANE = 64, BAR = 10, BAR_HEIGHT = 30;
  const SMALLEST_VIEW = 20; // ticks

  const byId = (id) => document.getElementById(id);
  const canvas = byId("timeline"), overview = byId("overview"), scroll = byId("scroll"), tip = byId("tip");
  const pen = canvas.getContext("2d"), small = overview.getContext("2d");

  const view = { from: 0, to: data.end };
  let selected = null; // {lane, run} or {lane, poll} or {lane, stall}
  let width = 0, height = 0, colors = {}, patterns = {};

  const stalls = lanes
    .flatMap((lane, number) => lane.stalls.map((stall, index) => ({ lane: number, stall: index, at: stall[0] })))
    .sort((a, b) => a.at - b.at);

  // Words.

  function duration(ticks) {
    const seconds = ticks / data.ticks, size = Math.abs(seconds);
    if (size >= 1) return `${seconds.toFixed(size >= 10 ? 2 : 3)} s`;
    if (size >= 1e-3) return `${(seconds * 1e3).toFixed(size >= 0.1 ? 1 : 3)} ms`;
    return `${(seconds * 1e6).toFixed(1)} µs`;
  }

  const titleOf = (number) => {
    if (number < 0) return "a greenlet";
    const [name, , , text] = greenlets[number];
    return names[text] ? `${name} · ${names[text]}` : name;
  };

  const outcomeOf = (how) => OUTCOMES[how % 4];

  function reasonOf(wait) {
    const call = names[wait[W.call]], phrase = names[wait[W.phrase]];
    if (!call && !phrase) return "parked";
    return [call, phrase].filter(Boolean).join(phrase.startsWith("of ") ? " " : ": ");
  }

  // Colors: one hue for each function, one shade for each greenlet.

  function readColors() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["paper", "panel", "ink", "soft", "line", "grid", "idle", "hatch", "loop", "stall", "timer",
      "accent", "label", "saturation", "lightness"]) {
      colors[name] = style.getPropertyValue(`--${name}`).trim();
    }
    patterns = { idle: hatched(colors.idle, colors.hatch), stall: hatched("transparent", colors.stall) };
    shades.clear();
  }

  function hatched(back, front) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const inside = tile.getContext("2d");
    inside.fillStyle = back;
    inside.fillRect(0, 0, 8, 8);
    inside.strokeStyle = front;
    inside.lineWidth = 1.4;
    inside.beginPath();
    for (const shift of [-8, 0, 8]) {
      inside.moveTo(shift, 8);
      inside.lineTo(shift + 8, 0);
    }
    inside.stroke();
    return pen.createPattern(tile, "repeat");
  }

  const hues = new Map(), shades = new Map();

  function colorOf(number) {
    let color = shades.get(number);
    if (!color) {
      const greenlet = greenlets[number];
      const key = greenlet[G.function] || greenlet[G.name];
      // The golden angle keeps the first few hues far apart.
      if (!hues.has(key)) hues.set(key, (155 + hues.size * 137.508) % 360);
      const shade = `calc(${colors.lightness} + ${((number * 7) % 5) * 2.2 - 4.4}%)`;
      const probe = document.createElement("i");
      probe.style.color = `hsl(${hues.get(key)} ${colors.saturation} ${shade})`;
      document.body.append(probe);
      color = getComputedStyle(probe).color;
      probe.remove();
      shades.set(number, color);
    }
    return color;
  }

  // Where things are.

  const scale = () => (width - LABELS) / (view.to - view.from);
  const xOf = (ticks) => LABELS + (ticks - view.from) * scale();
  const ticksAt = (x) => view.from + (x - LABELS) / scale();
  const yOf = (lane) => RULER + lane * LANE;

  // The number of the last run that begins at *ticks* or before; -1 if there is none.
  function runAt(runs, ticks) {
    let low = 0, high = runs.length / RUN;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (runs[middle * RUN + START] <= ticks) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  function setView(from, to) {
    const span = Math.min(Math.max(to - from, SMALLEST_VIEW), data.end || 1);
    const middle = (from + to) / 2;
    view.from = Math.min(Math.max(middle - span / 2, 0), Math.max(data.end - span, 0));
    view.to = view.from + span;
    draw();
  }

  function zoom(factor, x = LABELS + (width - LABELS) / 2) {
    const at = ticksAt(x);
    const span = Math.min(Math.max((view.to - view.from) * factor, SMALLEST_VIEW), data.end || 1);
    const from = at - ((x - LABELS) / (width - LABELS)) * span;
    setView(from, from + span);
  }

  function move(part) {
    const step = (view.to - view.from) * part;
    setView(view.from + step, view.to + step);
  }

  function showTime(start, end) {
    const span = Math.max((end - start) * 3, (view.to - view.from) / 4, SMALLEST_VIEW);
    if (start < view.from || end > view.to || (end - start) * scale() < 6) {
      setView((start + end - span) / 2, (start + end + span) / 2);
    }
  }

  // Drawing.

  function resize() {
    const ratio = window.devicePixelRatio || 1;
    width = scroll.clientWidth;
    height = Math.max(RULER + lanes.length * LANE, scroll.clientHeight - 1);
    for (const [each, high] of [[canvas, height], [overview, 36]]) {
      each.width = Math.round(width * ratio);
      each.height = Math.round(high * ratio);
      each.style.height = `${high}px`;
      each.style.width = `${width}px`;
      each.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    draw();
  }

  let isDue = false;

  function draw() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      if (width <= LABELS) return; // before the first layout
      drawOverview();
      drawTimeline();
    });
  }

  function drawTimeline() {
    pen.clearRect(0, 0, width, height);
    pen.font = "11.5px system-ui, sans-serif";
    pen.textBaseline = "middle";
    drawRuler();
    pen.save();
    pen.beginPath();
    pen.rect(LABELS, 0, width - LABELS, height);
    pen.clip();
    lanes.forEach(drawLane);
    drawSelection();
    pen.restore();
  }

  function drawRuler() {
    const aim = ((view.to - view.from) / (width - LABELS)) * 110;
    const power = 10 ** Math.floor(Math.log10(Math.max(aim, 1)));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= aim) || 10 * power;
    pen.fillStyle = colors.panel;
    pen.fillRect(0, 0, width, RULER);
    for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
      const x = Math.round(xOf(at)) + 0.5;
      pen.strokeStyle = colors.grid;
      pen.beginPath();
      pen.moveTo(x, RULER - 6);
      pen.lineTo(x, height);
      pen.stroke();
      pen.fillStyle = colors.soft;
      pen.textAlign = x > width - 40 ? "right" : "center";
      pen.fillText(at === 0 ? "0" : duration(at).replace(/\.?0+ /, " "), x, 11);
    }
    pen.textAlign = "left";
    pen.strokeStyle = colors.line;
    pen.beginPath();
    pen.moveTo(0, RULER - 0.5);
    pen.lineTo(width, RULER - 0.5);
    pen.stroke();
  }

  function drawLane(lane, number) {
    const top = yOf(number), bar = top + BAR;
    const left = Math.max(xOf(0), LABELS), right = Math.min(xOf(data.end), width);
    pen.fillStyle = patterns.idle;
    pen.fillRect(left, bar, right - left, BAR_HEIGHT);
    drawRuns(lane, bar);
    drawPolls(lane, bar);
    pen.fillStyle = colors.timer;
    let last = -9;
    for (const [at] of lane.timers) {
      const x = xOf(at);
      if (x < LABELS - 5 || x > width + 5 || x - last < 3) continue;
      last = x;
      pen.beginPath();
      pen.moveTo(x, bar + BAR_HEIGHT + 3);
      pen.lineTo(x + 4, bar + BAR_HEIGHT + 10);
      pen.lineTo(x - 4, bar + BAR_HEIGHT + 10);
      pen.fill();
    }
    for (const stall of lane.stalls) drawStall(stall, bar);
    pen.strokeStyle = colors.line;
    pen.beginPath();
    pen.moveTo(LABELS, top + LANE - 0.5);
    pen.lineTo(width, top + LANE - 0.5);
    pen.stroke();
  }

  function drawRuns(lane, bar) {
    const { runs, loop } = lane;
    const pixels = scale();
    let column = -1;
    for (let at = Math.max(runAt(runs, view.from), 0) * RUN; at < runs.length; at += RUN) {
      if (runs[at + START] > view.to) break;
      const x = xOf(runs[at + START]), wide = (runs[at + END] - runs[at + START]) * pixels;
      const who = runs[at + WHO];
      if (who === loop) {
        pen.fillStyle = colors.loop;
        pen.fillRect(x, bar + BAR_HEIGHT - 5, Math.max(wide, 0.4), 5);
        continue;
      }
      if (wide < 1 && Math.floor(x) === column) continue;
      column = Math.floor(x + wide);
      pen.fillStyle = colorOf(who);
      const from = Math.max(x, LABELS - 4), to = Math.min(x + Math.max(wide, 1), width + 4);
      if (wide > 5) {
        pen.beginPath();
        pen.roundRect(from + 0.3, bar, to - from - 0.6, BAR_HEIGHT, 3);
        pen.fill();
      } else {
        pen.fillRect(from, bar, to - from, BAR_HEIGHT);
      }
      if (to - from > 46) {
        pen.save();
        pen.beginPath();
        pen.rect(from, bar, to - from - 5, BAR_HEIGHT);
        pen.clip();
        pen.fillStyle = colors.label;
        pen.fillText(titleOf(who), from + 7, bar + BAR_HEIGHT / 2 + 0.5);
        pen.restore();
      }
    }
  }

  function drawPolls(lane, bar) {
    const pixels = scale();
    for (const [start, end, timeout] of lane.polls) {
      if (end < view.from || timeout === 0) continue;
      if (start > view.to) break;
      const wide = (end - start) * pixels;
      if (wide < 1) continue;
      // Nothing runs here: take the loop's color away.
      const x = Math.max(xOf(start), LABELS), to = Math.min(xOf(end), width);
      pen.fillStyle = patterns.idle;
      pen.fillRect(x, bar + BAR_HEIGHT - 5, to - x, 5);
      if (to - x > 90) {
        pen.fillStyle = colors.soft;
        pen.textAlign = "center";
        pen.fillText(`asleep ${duration(end - start)}`, (x + to) / 2, bar + BAR_HEIGHT / 2);
        pen.textAlign = "left";
      }
    }
  }

  function drawStall([start, end], bar) {
    const x = Math.max(xOf(start), LABELS), to = Math.min(Math.max(xOf(end), xOf(start) + 3), width);
    if (to < LABELS || x > width) return;
    pen.globalAlpha = 0.28;
    pen.fillStyle = patterns.stall;
    pen.fillRect(x, bar, to - x, BAR_HEIGHT);
    pen.globalAlpha = 1;
    pen.strokeStyle = pen.fillStyle = colors.stall;
    pen.lineWidth = 2;
    pen.strokeRect(x + 1, bar - 1, Math.max(to - x - 2, 1), BAR_HEIGHT + 2);
    pen.lineWidth = 1;
    pen.fillRect(x, bar - 7, to - x, 3);
    if (to - x > 60) pen.fillText(`stall ${duration(end - start)}`, x + 2, bar + BAR_HEIGHT + 10);
  }

  function drawSelection() {
    if (!selected || selected.run === undefined) return;
    const { runs } = lanes[selected.lane];
    const at = selected.run * RUN, who = runs[at + WHO], bar = yOf(selected.lane) + BAR;
    const x = xOf(runs[at + START]), to = xOf(runs[at + END]);
    pen.strokeStyle = colors.ink;
    pen.lineWidth = 2;
    pen.strokeRect(x - 1, bar - 2, Math.max(to - x, 1) + 2, BAR_HEIGHT + 4);
    pen.lineWidth = 1;
    // All waits of this greenlet, below its lane.
    const line = yOf(greenlets[who][G.hub]) + LANE - 9;
    pen.strokeStyle = colorOf(who);
    pen.lineWidth = 3;
    for (const wait of waits) {
      if (wait[W.greenlet] !== who) continue;
      const from = xOf(Math.max(wait[W.start], 0)), until = xOf(wait[W.end] ?? data.end);
      if (until < LABELS || from > width) continue;
      pen.beginPath();
      pen.moveTo(from + 1, line);
      pen.lineTo(Math.max(until - 1, from + 2), line);
      pen.stroke();
    }
    pen.lineWidth = 1;
    const wait = waits[runs[at + AFTER]];
    if (wait && wait[W.woken] !== null && wait[W.wakerHub] >= 0) {
      drawArrow(wait[W.wakerHub], wait[W.woken], selected.lane, runs[at + START], colors.ink);
    }
    if (!wait && greenlets[who][G.spawned] !== null && isFirstRun(selected.lane, selected.run)) {
      const spawner = greenlets[who][G.spawner];
      const lane = spawner >= 0 ? greenlets[spawner][G.hub] : selected.lane;
      drawArrow(lane, greenlets[who][G.spawned], selected.lane, runs[at + START], colors.accent);
    }
  }

  function isFirstRun(lane, run) {
    const { runs } = lanes[lane];
    const who = runs[run * RUN + WHO];
    return !runs.some((value, at) => at % RUN === WHO && value === who && at < run * RUN);
  }

  function drawArrow(fromLane, from, toLane, to, color) {
    const x = xOf(from), y = yOf(fromLane) + BAR + (fromLane <= toLane ? BAR_HEIGHT : 0);
    const endX = xOf(to), endY = yOf(toLane) + BAR + (fromLane < toLane ? -3 : BAR_HEIGHT + 3);
    const bend = fromLane === toLane ? 16 : 0, side = Math.max(Math.abs(endX - x) / 2, 14);
    const up = fromLane < toLane ? -1 : 1;
    pen.strokeStyle = pen.fillStyle = color;
    pen.lineWidth = 1.6;
    pen.beginPath();
    pen.arc(x, y, 3, 0, 7);
    pen.fill();
    pen.beginPath();
    pen.moveTo(x, y);
    pen.bezierCurveTo(x + side * 0.6, y + bend, endX - side * 0.3, endY + up * 14, endX, endY + up * 5);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(endX, endY);
    pen.lineTo(endX - 4, endY + up * 7);
    pen.lineTo(endX + 4, endY + up * 7);
    pen.fill();
    pen.lineWidth = 1;
  }

  // The overview: how busy each hub is in each column of pixels; drawn once for each size and theme.

  let busyImage = null;

  function drawOverview() {
    const ratio = window.devicePixelRatio || 1;
    if (!busyImage || busyImage.width !== overview.width) {
      busyImage = document.createElement("canvas");
      busyImage.width = overview.width;
      busyImage.height = overview.height;
      const inside = busyImage.getContext("2d");
      inside.scale(ratio, ratio);
      drawBusy(inside);
    }
    small.clearRect(0, 0, width, 36);
    small.drawImage(busyImage, 0, 0, width, 36);
    const x = LABELS + (view.from / data.end) * (width - LABELS);
    const to = LABELS + (view.to / data.end) * (width - LABELS);
    small.fillStyle = colors.paper;
    small.globalAlpha = 0.7;
    small.fillRect(LABELS, 0, x - LABELS, 36);
    small.fillRect(to, 0, width - to, 36);
    small.globalAlpha = 1;
    small.strokeStyle = colors.accent;
    small.lineWidth = 2;
    small.strokeRect(x + 1, 1, Math.max(to - x - 2, 3), 34);
  }

  function drawBusy(inside) {
    const columns = Math.max(Math.floor(width - LABELS), 1), each = data.end / columns;
    const row = 32 / Math.max(lanes.length, 1);
    inside.font = "11.5px system-ui, sans-serif";
    inside.fillStyle = colors.soft;
    inside.fillText("overview", 16, 22);
    lanes.forEach(({ runs, loop, stalls: found }, number) => {
      const busy = new Float64Array(columns + 1);
      for (let at = 0; at < runs.length; at += RUN) {
        if (runs[at + WHO] === loop) continue;
        let start = runs[at + START];
        const end = runs[at + END];
        while (start < end) {
          const column = Math.min(Math.floor(start / each), columns - 1);
          const edge = Math.min(end, (column + 1) * each);
          busy[column] += Math.max(edge - start, 0);
          if (edge <= start) break;
          start = edge;
        }
      }
      inside.fillStyle = colors.accent;
      for (let column = 0; column < columns; column += 1) {
        if (!busy[column]) continue;
        inside.globalAlpha = Math.min(0.15 + 0.85 * (busy[column] / each), 1);
        inside.fillRect(LABELS + column, 2 + number * row, 1, Math.max(row - 1, 1));
      }
      inside.globalAlpha = 1;
      inside.fillStyle = colors.stall;
      for (const [start, end] of found) {
        inside.fillRect(LABELS + start / each, 2 + number * row, Math.max((end - start) / each, 2), Math.max(row - 1, 1));
      }
    });
  }

  // What is at a place.

  function find(x, y) {
    const lane = Math.floor((y - RULER) / LANE);
    if (x < LABELS || lane < 0 || lane >= lanes.length) return null;
    const ticks = ticksAt(x), { runs, loop, polls, stalls: found } = lanes[lane];
    const near = 3 / scale();
    let run = runAt(runs, ticks + near);
    // Prefer a greenlet to the loop within some pixels.
    for (let other = run; other >= 0 && other > run - 4; other -= 1) {
      if (runs[other * RUN + END] >= ticks - near && runs[other * RUN + WHO] !== loop) {
        return { lane, run: other };
      }
    }
    const stall = found.findIndex(([start, end]) => start <= ticks && ticks <= end);
    if (stall >= 0) return { lane, stall };
    const poll = polls.findIndex(([start, end, timeout]) => timeout !== 0 && start <= ticks && ticks <= end);
    if (poll >= 0) return { lane, poll };
    return run >= 0 ? { lane, run } : null;
  }

  // Details.

  function element(name, text, ...children) {
    const [tag, kind] = name.split(".");
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    if (text) made.textContent = text;
    made.append(...children.filter(Boolean));
    return made;
  }

  function stackOf(number) {
    const frames = stacks[number];
    if (!frames || !frames.length) return null;
    const list = element("ol.stack", "");
    for (const [file, line, name] of frames) {
      const short = file.split("/").slice(-2).join("/");
      const item = element("li", `${name} `, element("span", `${short}:${line}`));
      item.title = `${file}:${line}`;
      list.append(item);
    }
    return list;
  }

  function link(text, go) {
    const made = element("button.link", text);
    made.type = "button";
    made.addEventListener("click", go);
    return made;
  }

  function select(found, shows = false) {
    selected = found;
    const panel = byId("details");
    panel.replaceChildren();
    if (!found) {
      panel.append(element("p.hint", "Click a run to see why it began and ended, who woke it, and with which stack."));
    } else if (found.run !== undefined) {
      describeRun(panel, found);
      const at = found.run * RUN, { runs } = lanes[found.lane];
      if (shows) showTime(runs[at + START], runs[at + END]);
    } else if (found.stall !== undefined) {
      const stall = lanes[found.lane].stalls[found.stall];
      panel.append(element("h2", `Stall of ${lanes[found.lane].name}`), describeStall(stall));
      if (shows) showTime(stall[0], stall[1]);
    } else {
      const [start, end, timeout, events] = lanes[found.lane].polls[found.poll];
      panel.append(
        element("h2", `${lanes[found.lane].name} is asleep`, element("small", `${duration(start)} – ${duration(end)}`)),
        element("article", "", element("p", `Nothing is ready for ${duration(end - start)}. ${
          timeout === null ? "No timer is set." : `The next timer is due after ${duration(timeout)}.`
        } ${events === 1 ? "One event ends" : `${events} events end`} the sleep.`)),
      );
    }
    if (shows && found) {
      const top = yOf(found.lane);
      if (top < scroll.scrollTop || top + LANE > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top - RULER;
    }
    draw();
  }

  function describeStall([start, end, who, stack, call]) {
    return element("article", "",
      element("h3", "stall"),
      element("p.alarm", `${titleOf(who)} keeps its hub for ${duration(end - start)}, and all other greenlets wait.`),
      call ? element("p", call) : null,
      stackOf(stack) || element("p.hint", "Its stack is not known: it was over before the sampler looked."),
    );
  }

  function describeRun(panel, { lane, run }) {
    const { runs, name, loop } = lanes[lane];
    const at = run * RUN, who = runs[at + WHO];
    const start = runs[at + START], end = runs[at + END];
    const mark = element("i", "");
    mark.style.background = who === loop ? colors.loop : colorOf(who);
    panel.append(element("h2", "", mark, titleOf(who), element("small",
      `runs on ${name} for ${duration(end - start)}, ${duration(start)} – ${duration(end)}`)));
    for (const stall of lanes[lane].stalls) {
      if (stall[0] < end && stall[1] > start) panel.append(describeStall(stall));
    }
    if (runs[at + AFTER] >= 0) panel.append(describeWait("why it runs", waits[runs[at + AFTER]], start, true));
    const outcome = outcomeOf(runs[at + HOW]);
    if (runs[at + BEFORE] >= 0) {
      panel.append(describeWait("then it parks", waits[runs[at + BEFORE]], null, false));
    } else {
      const text = { yields: "It lets the others run, and stays ready.", ends: "It ends." }[outcome];
      panel.append(element("article", "", element("h3", "then"), element("p", text || "It still ran when the recording ended.")));
    }
    panel.append(describeGreenlet(lane, run, who));
  }

  function describeWait(title, wait, began, isOver) {
    const article = element("article", "", element("h3", title), element("p", reasonOf(wait)));
    if (isOver) {
      const { length } = article.childNodes;
      const waker = wait[W.waker], text = names[wait[W.wakerName]];
      const late = wait[W.woken] === null ? "" : `, ${duration(began - wait[W.woken])} before it runs`;
      const line = element("p", `waited ${duration(began - wait[W.start])}; woken by `);
      if (wait[W.woken] !== null && waker >= 0 && text === greenlets[waker][G.name]) {
        line.append(link(titleOf(waker), () => goTo(wait[W.wakerHub], wait[W.woken])), late);
      } else {
        line.append(text ? `${text}${late}` : "something that was not recorded");
      }
      article.insertBefore(line, article.childNodes[length]);
    } else if (wait[W.end] !== null) {
      const line = element("p", "", link(`it goes on after ${duration(wait[W.end] - wait[W.start])}`,
        () => goTo(greenlets[wait[W.greenlet]][G.hub], wait[W.end])));
      article.append(line);
    } else {
      article.append(element("p", "It was still parked when the recording ended."));
    }
    const stack = stackOf(wait[W.stack]);
    if (stack) article.append(stack);
    return article;
  }

  function describeGreenlet(lane, run, who) {
    const greenlet = greenlets[who];
    const article = element("article", "", element("h3", "greenlet"));
    if (greenlet[G.kind] !== "task") {
      const text = { loop: "The loop polls, fires timers and takes in what other threads post.",
        main: "The main program of a thread outside of all pools." }[greenlet[G.kind]];
      article.append(element("p", text || "A greenlet that is no task of greenpool."));
      return article;
    }
    const spawner = greenlet[G.spawner], by = names[greenlet[G.spawnerName]];
    const line = element("p", greenlet[G.spawned] === null
      ? "spawned before the recording" : `spawned at ${duration(greenlet[G.spawned])}`);
    if (by) {
      line.append(" by ", spawner >= 0 && greenlet[G.spawned] !== null
        ? link(titleOf(spawner), () => goTo(greenlets[spawner][G.hub], greenlet[G.spawned])) : by);
    }
    article.append(line);
    if (greenlet[G.at]) {
      const [file, number, name] = greenlet[G.at];
      const place = element("ol.stack", "", element("li", `${name} `,
        element("span", `${file.split("/").slice(-2).join("/")}:${number}`)));
      place.title = `${file}:${number}`;
      article.append(place);
    }
    if (greenlet[G.ended] !== null) article.append(element("p", `ended at ${duration(greenlet[G.ended])}`));
    article.append(element("p", "",
      link("previous run", () => step(lane, run, who, -1)), "  ·  ", link("next run", () => step(lane, run, who, 1))));
    return article;
  }

  // Going from one to the other.

  function goTo(lane, ticks) {
    const run = runAt(lanes[lane].runs, ticks);
    if (run >= 0) select({ lane, run }, true);
  }

  function step(lane, run, who, way) {
    const { runs, loop } = lanes[lane];
    for (let other = run + way; other >= 0 && other * RUN < runs.length; other += way) {
      if (who === null ? runs[other * RUN + WHO] !== loop : runs[other * RUN + WHO] === who) {
        select({ lane, run: other }, true);
        return;
      }
    }
  }

  let stallNow = -1;

  function showStall(way) {
    if (!stalls.length) return;
    stallNow = (stallNow + way + stalls.length) % stalls.length;
    const { lane, stall } = stalls[stallNow];
    const [start, end] = lanes[lane].stalls[stall];
    const { runs } = lanes[lane];
    const run = runAt(runs, start);
    const isRun = run >= 0 && runs[run * RUN + START] === start;
    select(isRun ? { lane, run } : { lane, stall }, false);
    setView(start - (end - start), end + (end - start));
  }

  function search(text) {
    const wanted = text.trim().toLowerCase();
    const output = byId("search").querySelector("output");
    if (!wanted) {
      output.value = "";
      return;
    }
    const found = new Set();
    greenlets.forEach((greenlet, number) => {
      if (greenlet[G.kind] !== "carrier" && titleOf(number).toLowerCase().includes(wanted)) found.add(number);
    });
    output.value = `${found.size} found`;
    const hits = [];
    lanes.forEach(({ runs }, lane) => {
      for (let at = 0; at < runs.length; at += RUN) if (found.has(runs[at + WHO])) hits.push({ lane, run: at / RUN });
    });
    if (!hits.length) return;
    const startOf = ({ lane, run }) => lanes[lane].runs[run * RUN + START];
    hits.sort((a, b) => startOf(a) - startOf(b));
    const now = selected && selected.run !== undefined ? startOf(selected) : -1;
    select(hits.find((hit) => startOf(hit) > now) || hits[0], true);
  }

  // The mouse and the keys.

  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  let drag = null;

  canvas.addEventListener("pointerdown", (event) => {
    const [x] = placeOf(event);
    drag = { x, from: view.from, to: view.to, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });

  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = placeOf(event);
    if (drag) {
      if (Math.abs(x - drag.x) > 3) drag.moved = true;
      if (drag.moved) {
        tip.hidden = true;
        canvas.classList.add("moving");
        const shift = (drag.x - x) / scale();
        setView(drag.from + shift, drag.to + shift);
      }
      return;
    }
    showTip(find(x, y), event);
  });

  canvas.addEventListener("pointerup", (event) => {
    canvas.classList.remove("moving");
    if (drag && !drag.moved) select(find(...placeOf(event)));
    drag = null;
  });

  canvas.addEventListener("pointercancel", () => {
    drag = null;
  });

  canvas.addEventListener("pointerleave", () => {
    tip.hidden = true;
  });

  canvas.addEventListener("dblclick", (event) => {
    const found = find(...placeOf(event));
    if (!found || found.run === undefined) return;
    const { runs } = lanes[found.lane];
    const start = runs[found.run * RUN + START], end = runs[found.run * RUN + END];
    setView(start - (end - start), end + (end - start));
  });

  canvas.addEventListener("wheel", (event) => {
    const [x] = placeOf(event);
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      move((event.deltaX || event.deltaY) / 1000);
    } else if (event.altKey) {
      return;
    } else {
      zoom(1.0018 ** event.deltaY, x);
    }
    event.preventDefault();
  }, { passive: false });

  function showTip(found, event) {
    tip.hidden = !found;
    if (!found) return;
    const lane = lanes[found.lane];
    if (found.run !== undefined) {
      const at = found.run * RUN, wait = waits[lane.runs[at + BEFORE]];
      const ends = wait ? `parks in ${reasonOf(wait)}` : outcomeOf(lane.runs[at + HOW]);
      tip.textContent = `${titleOf(lane.runs[at + WHO])}\n${duration(lane.runs[at + END] - lane.runs[at + START])}${
        ends ? `, then ${ends}` : ""}`;
    } else if (found.poll !== undefined) {
      const [start, end] = lane.polls[found.poll];
      tip.textContent = `asleep for ${duration(end - start)}`;
    } else {
      const [start, end, who] = lane.stalls[found.stall];
      tip.textContent = `stall: ${titleOf(who)}, ${duration(end - start)}`;
    }
    const box = document.querySelector("main").getBoundingClientRect();
    const x = event.clientX - box.left + 14;
    tip.style.left = `${Math.min(x, box.width - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY - box.top + 16, box.height - tip.offsetHeight - 4)}px`;
  }

  const inOverview = (event) => {
    const box = overview.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - box.left - LABELS) / (width - LABELS), 0), 1) * data.end;
  };

  let chosen = null;

  overview.addEventListener("pointerdown", (event) => {
    chosen = inOverview(event);
    overview.setPointerCapture(event.pointerId);
  });

  overview.addEventListener("pointermove", (event) => {
    if (chosen === null) return;
    const here = inOverview(event);
    if (Math.abs(here - chosen) > data.end / 200) setView(Math.min(here, chosen), Math.max(here, chosen));
  });

  overview.addEventListener("pointerup", (event) => {
    const here = inOverview(event);
    if (Math.abs(here - chosen) <= data.end / 200) {
      const half = (view.to - view.from) / 2;
      setView(here - half, here + half);
    }
    chosen = null;
  });

  const keys = {
    w: () => zoom(0.7), s: () => zoom(1 / 0.7), a: () => move(-0.15), d: () => move(0.15),
    ArrowUp: () => zoom(0.7), ArrowDown: () => zoom(1 / 0.7), ArrowLeft: () => move(-0.15), ArrowRight: () => move(0.15),
    "+": () => zoom(0.7), "-": () => zoom(1 / 0.7), f: () => setView(0, data.end), 0: () => setView(0, data.end),
    n: () => showStall(1), p: () => showStall(-1), Escape: () => select(null),
  };

  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Tab" && event.target === canvas && selected && selected.run !== undefined) {
      event.preventDefault();
      step(selected.lane, selected.run, null, event.shiftKey ? -1 : 1);
    } else if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  byId("zoom-in").addEventListener("click", () => zoom(0.6));
  byId("zoom-out").addEventListener("click", () => zoom(1 / 0.6));
  byId("fit").addEventListener("click", () => setView(0, data.end));
  byId("next-stall").addEventListener("click", () => showStall(1));
  byId("previous-stall").addEventListener("click", () => showStall(-1));
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search(event.target.querySelector("input").value);
  });

  // The page.

  function busyPart({ runs, loop }) {
    let busy = 0;
    for (let at = 0; at < runs.length; at += RUN) if (runs[at + WHO] !== loop) busy += runs[at + END] - runs[at + START];
    return data.end ? busy / data.end : 0;
  }

  function begin() {
    const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
    const shown = greenlets.filter((each) => each[G.kind] === "task").length;
    const switches = lanes.reduce((sum, { runs }) => sum + runs.length / RUN, 0);
    byId("summary").textContent = [
      `process ${data.pid}`,
      new Date(data.began * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "medium" }),
      duration(data.end), count(lanes.length, "hub"), count(shown, "greenlet"), count(switches, "run"),
      count(stalls.length, "stall"),
    ].join("  ·  ");
    document.title = `greenpool trace of process ${data.pid}`;
    for (const lane of lanes) {
      const item = element("li.lane", "", element("b", lane.name), element("small",
        lane.answered ? `${(busyPart(lane) * 100).toFixed(0)} % busy` : "did not answer"));
      item.title = lane.thread ? `hub ${lane.name}, OS thread ${lane.thread}` : `hub ${lane.name}`;
      byId("lanes").append(item);
    }
    if (data.limit !== null) {
      byId("warning").hidden = false;
      byId("warning").textContent =
        `The recording ended early, at its limit of ${data.limit.toLocaleString("en")} entries.`;
    }
    byId("next-stall").disabled = byId("previous-stall").disabled = !stalls.length;
    readColors();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      busyImage = null;
      readColors();
      select(selected);
    });
    new ResizeObserver(resize).observe(scroll);
    select(null);
  }

  // For tests and for the console of the browser.
  window.trace = { data, view, setView, select, selected: () => selected, xOf, yOf, isDrawn: () => !isDue && width > 0 };
  begin();
})();
