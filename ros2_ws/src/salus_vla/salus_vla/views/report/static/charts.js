"use strict";
// Charts as SVG in real pixels: each is drawn again when its width changes, so that its text keeps its size.

const LEFT = 52,
  RIGHT = 8,
  TOP = 6,
  BOTTOM = 18;

/** Calls draw(width) now and whenever the width of the element changes. */
const watcher = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const width = Math.round(entry.contentRect.width);
    if (width && width !== entry.target.drawnWidth) {
      entry.target.drawnWidth = width;
      entry.target.draw(width);
    }
  }
});
function drawn(element, draw) {
  element.draw = draw;
  watcher.observe(element);
  return element;
}

/** About `wanted` round numbers within low and high. */
function ticks(low, high, wanted) {
  const rough = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-6; at += 1)
    found.push(Number((at * step).toPrecision(12)));
  return found;
}

/** Smallest and largest of all known values, widened to a range that is not a point. */
function extent(lists) {
  let low = Infinity,
    high = -Infinity;
  for (const list of lists) {
    for (const value of list) {
      if (known(value)) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
  }
  if (low > high) return null;
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

/** Lines between neighbours that are both known; a value alone becomes a dot. */
function curve(times, values, x, y, className) {
  let path = "";
  const alone = [];
  values.forEach((value, at) => {
    if (!known(value)) return;
    const before = at > 0 && known(values[at - 1]);
    path += `${before ? "L" : "M"}${x(times[at]).toFixed(1)} ${y(value).toFixed(1)}`;
    if (!before && !known(values[at + 1])) alone.push([times[at], value]);
  });
  const dots = alone.map(([time, value]) =>
    svg("circle", { class: `point ${className}`, cx: x(time), cy: y(value), r: 2 }),
  );
  return [path && svg("path", { class: `curve ${className}`, d: path }), ...dots].filter(Boolean);
}

/** Last index whose time is not after this one by more than half a frame; -1 before the first. */
function indexAt(times, time) {
  let low = 0,
    high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time + 0.01) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Lines at round times with their numbers below, and the frame around them. */
function timeAxis(end, width, height, x) {
  const marks = ticks(0, end || 1, Math.max(2, Math.floor(width / 90)));
  const parts = marks.flatMap((time, at) => [
    svg("line", { class: "grid", x1: x(time), x2: x(time), y1: TOP, y2: height - BOTTOM }),
    svg(
      "text",
      { x: x(time), y: height - 5, "text-anchor": "middle" },
      minus(String(time)) + (at === marks.length - 1 ? " s" : ""),
    ),
  ]);
  const inside = { width: Math.max(0, width - LEFT - RIGHT), height: height - TOP - BOTTOM };
  return [...parts, svg("rect", { class: "frame", x: LEFT, y: TOP, ...inside })];
}

const eventLine = (event, x, height) =>
  svg(
    "line",
    { class: `event ${eventClass(event)}`, x1: x(event.time_s), x2: x(event.time_s), y1: TOP, y2: height - BOTTOM },
    svg("title", {}, `${event.kind} at ${seconds(event.time_s)}`),
  );

/** A click or a drag in the picture goes to its time. */
function seekable(picture, options) {
  function seek(event) {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = picture.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    options.seek(Math.min(1, Math.max(0, share)) * options.end);
  }
  picture.addEventListener("pointerdown", seek);
  picture.addEventListener("pointermove", seek);
}

/**
 * A chart over the time of the episode.
 * options: title, unit, lines [{times, values, name}], limits [lower, upper], whole (show the limits' whole range),
 *          end [s], events, seek(time), say(time): the words at the cursor, label, taken_over [s or null]: from then on another policy acted.
 * Gives its element and show(time), which moves the cursor and says the values there.
 */
function timeChart(options) {
  const height = options.height || 92;
  const says = html("output", {});
  const picture = svg("svg", { role: "img", height, class: "seekable" });
  const element = html(
    "div",
    { class: "chart" },
    html(
      "h3",
      {},
      options.title,
      options.unit ? html("span", { class: "dim" }, `[${unit(options.unit)}]`) : null,
      says,
    ),
    picture,
  );
  let x = null,
    now = 0,
    cursor = null;
  const has = options.lines.some((line) => line.values.some(known));

  function draw(width) {
    const whole = options.whole && options.whole();
    const range = whole ? extent([options.limits]) : extent(options.lines.map((line) => line.values));
    const [low, high] = range || [0, 1];
    x = (time) => LEFT + (time / (options.end || 1)) * (width - LEFT - RIGHT);
    const y = (value) => TOP + (1 - (value - low) / (high - low)) * (height - TOP - BOTTOM);
    const parts = [];
    for (const value of range ? ticks(low, high, 4) : []) {
      parts.push(
        svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
        svg("text", { x: LEFT - 6, y: y(value) + 3.5, "text-anchor": "end" }, number(value)),
      );
    }
    parts.push(...timeAxis(options.end, width, height, x));
    if (known(options.taken_over))
      parts.push(
        svg(
          "rect",
          {
            class: "taken-over",
            x: x(options.taken_over),
            y: TOP,
            width: Math.max(0, width - RIGHT - x(options.taken_over)),
            height: height - TOP - BOTTOM,
          },
          svg("title", {}, `taken over at ${seconds(options.taken_over)}`),
        ),
      );
    for (const limit of options.limits || []) {
      if (limit >= low && limit <= high)
        parts.push(svg("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y(limit), y2: y(limit) }));
    }
    for (const event of options.events) parts.push(eventLine(event, x, height));
    for (const line of options.lines) parts.push(...curve(line.times, line.values, x, y, line.name));
    if (!has)
      parts.push(svg("text", { x: width / 2 + LEFT / 2, y: height / 2, "text-anchor": "middle" }, options.absent));
    cursor = svg("line", { class: "cursor", y1: TOP, y2: height - BOTTOM });
    picture.replaceChildren(...parts, cursor);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    show(now);
  }
  function show(time) {
    now = time;
    const values = options.lines.map((line) => line.values[indexAt(line.times, time)]);
    const words = () => (options.say ? options.say(time) : values.map(number).join(" / "));
    says.textContent = has ? words() : "";
    if (cursor) {
      cursor.setAttribute("x1", x(time));
      cursor.setAttribute("x2", x(time));
    }
  }
  seekable(picture, options);
  const range = extent(options.lines.map((line) => line.values));
  const spoken =
    range && has ? `over time, about ${number(range[0])} to ${number(range[1])} ${options.unit}` : options.absent;
  picture.setAttribute("aria-label", `${options.title} ${spoken}`);
  drawn(element, draw);
  return { element, show, redraw: () => element.drawnWidth && draw(element.drawnWidth) };
}
const OUTCOMES = ["SUCCESS", "COLLISION", "DROP", "MISS", "TIMEOUT"];
const KINDS = [...OUTCOMES, "HANDED_OVER", "ALARM"];
const eventClass = (event) =>
  KINDS.includes(event.kind) ? event.kind : event.kind === "MISS_TRY" ? "MISS" : "other";

/**
 * Values of the episodes in rows by outcome: dots, and a box from the first to the third quartile with the median.
 * options: title, unit, rows [{name, spread [5 quantiles], values, pages, labels}].
 * The scale is logarithmic where positive values span more than a factor of 50.
 */
function spreadChart(options) {
  const rows = options.rows.filter((row) => row.values.some(known));
  const step = 30,
    left = 86;
  const height = TOP + Math.max(1, rows.length) * step + BOTTOM;
  const picture = svg("svg", { role: "img", height });
  const element = html(
    "div",
    { class: "chart" },
    html("h3", {}, options.title, options.unit ? html("span", { class: "dim" }, `[${unit(options.unit)}]`) : null),
    picture,
  );
  const all = rows.flatMap((row) => row.values.filter(known));
  const least = Math.min(...all),
    most = Math.max(...all);
  const logarithmic = all.length > 0 && least > 0 && most / least > 50;
  const scale = logarithmic ? Math.log10 : (value) => value;
  const range = extent([all.map(scale)]) || [0, 1];
  const spoken = rows.map((row) => `${row.name} median ${number(row.spread[2])}`).join(", ") || "no valid value";
  picture.setAttribute("aria-label", `${options.title} by outcome: ${spoken} ${options.unit}`);

  function draw(width) {
    const x = (value) => left + ((scale(value) - range[0]) / (range[1] - range[0])) * (width - left - RIGHT);
    const parts = [];
    const wanted = Math.max(3, Math.floor((width - left) / 60));
    let marks = logarithmic ? ticks(...range, wanted).map((power) => 10 ** power) : ticks(...range, wanted);
    if (logarithmic && range[1] - range[0] > 1) marks = marks.filter((value) => Number.isInteger(Math.log10(value)));
    for (const value of all.length ? marks : []) {
      parts.push(
        svg("line", { class: "grid", x1: x(value), x2: x(value), y1: TOP, y2: height - BOTTOM }),
        svg("text", { x: x(value), y: height - 5, "text-anchor": "middle" }, number(value)),
      );
    }
    rows.forEach((row, at) => parts.push(spreadRow(row, x, TOP + (at + 0.5) * step, left)));
    parts.push(
      svg("rect", {
        class: "frame",
        x: left,
        y: TOP,
        width: Math.max(0, width - left - RIGHT),
        height: height - TOP - BOTTOM,
      }),
    );
    if (!rows.length)
      parts.push(
        svg("text", { x: (width + left) / 2, y: height / 2, "text-anchor": "middle" }, "not valid in any episode"),
      );
    picture.replaceChildren(...parts);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }
  return drawn(element, draw);
}

function spreadRow(row, x, y, left) {
  const group = svg("g", { class: row.name }, svg("text", { x: left - 6, y: y + 3.5, "text-anchor": "end" }, row.name));
  const [low, first, median, third, high] = row.spread.map(x);
  if (row.values.filter(known).length > 1) {
    group.append(
      svg("line", { class: "spread", x1: low, x2: high, y1: y, y2: y }),
      svg("rect", { class: "box", x: first, y: y - 9, width: Math.max(1, third - first), height: 18 }),
    );
  }
  group.append(svg("line", { class: "median", x1: median, x2: median, y1: y - 10, y2: y + 10 }));
  row.values.forEach((value, at) => {
    if (!known(value)) return;
    // Spread over the height of the row in an order that looks random and is always the same.
    const shift = (((at * 7) % 11) / 10 - 0.5) * 14;
    group.append(
      svg(
        "circle",
        { class: "dot", cx: x(value).toFixed(1), cy: (y + shift).toFixed(1), r: 2.6, "data-page": row.pages[at] },
        svg("title", {}, `${row.labels[at]}: ${number(value)}`),
      ),
    );
  });
  return group;
}
