"use strict";
// The page of an episode: everything on one time axis, with one cursor.

const { facts, decisions, joints, pictures, events } = data;
const end = Math.max(
  facts.duration_s,
  ...[decisions.times, pictures.times, joints.measured_times].map((times) => times.at(-1) || 0),
);
// Where the cursor can stand: at the decisions, else at the camera sets, else at the joints.
const stops = [decisions.times, pictures.times, joints.measured_times].find((times) => times.length) || [0];
const listeners = [];
let stop = 0;

function goTo(at) {
  stop = Math.min(stops.length - 1, Math.max(0, at));
  for (const listener of listeners) listener(stops[stop]);
}
function seek(time) {
  const at = Math.max(0, indexAt(stops, time));
  const next = Math.min(stops.length - 1, at + 1);
  goTo(Math.abs(stops[next] - time) < Math.abs(stops[at] - time) ? next : at);
}

// -- cameras ----------------------------------------------------------------------------------------------------------

function draw(canvas, camera, at) {
  canvas
    .getContext("2d")
    .drawImage(
      camera.sheet,
      (at % camera.columns) * camera.width,
      Math.floor(at / camera.columns) * camera.height,
      camera.width,
      camera.height,
      0,
      0,
      canvas.width,
      canvas.height,
    );
}

function loaded(camera) {
  camera.sheet = new Image();
  camera.sheet.src = camera.image;
  return camera.sheet.decode();
}

function cameraViews() {
  const figures = pictures.cameras.map((camera) => {
    const canvas = html("canvas", {
      width: camera.width,
      height: camera.height,
      role: "img",
      "aria-label": `camera ${camera.name}`,
    });
    listeners.push((time) => camera.ready && draw(canvas, camera, Math.max(0, indexAt(pictures.times, time))));
    return html("figure", {}, canvas, html("figcaption", {}, camera.name));
  });
  return figures.length ? html("div", { class: "cameras" }, figures) : note("No images were recorded.");
}

function filmStrip() {
  const box = html("div", { class: "strip" });
  let marked = [];
  function fillStrip(width) {
    const places = Math.max(3, Math.min(10, Math.floor(width / 95), pictures.times.length));
    box.style.setProperty("grid-template-columns", `repeat(${places}, minmax(0, 1fr))`);
    const indices = Array.from({ length: places }, (_, at) =>
      Math.round((at * (pictures.times.length - 1)) / Math.max(1, places - 1)),
    );
    marked = indices.map((index) => [pictures.times[index], []]);
    const rows = pictures.cameras.map((camera) =>
      indices.map((index, at) => {
        const time = pictures.times[index];
        const canvas = html("canvas", { width: camera.width / 2, height: camera.height / 2 });
        if (camera.ready) draw(canvas, camera, index);
        const button = html(
          "button",
          { type: "button", onclick: () => seek(time), "aria-label": `${camera.name} at ${seconds(time)}` },
          canvas,
        );
        marked[at][1].push(button);
        return button;
      }),
    );
    box.replaceChildren(...indices.map((index) => html("span", {}, seconds(pictures.times[index]))), ...rows.flat());
    mark(stops[stop]);
  }
  function mark(time) {
    const at = Math.max(
      0,
      indexAt(
        marked.map(([start]) => start),
        time,
      ),
    );
    marked.forEach(([, buttons], place) =>
      buttons.forEach((button) => button.setAttribute("aria-current", String(place === at))),
    );
  }
  listeners.push(mark);
  drawn(box, fillStrip);
  Promise.all(
    pictures.cameras.map((camera) =>
      loaded(camera).then(() => {
        camera.ready = true;
      }),
    ),
  ).then(() => {
    goTo(stop);
    if (box.drawnWidth) fillStrip(box.drawnWidth);
    document.documentElement.dataset.pictures = "shown";
  });
  return section("Film strip", note("Click a picture to go there."), box);
}

// -- scrubber ---------------------------------------------------------------------------------------------------------

function place(time) {
  const at = decisions.times.length ? `decision ${decisions.numbers[stop]}` : `picture or frame ${stop}`;
  const after = time > facts.duration_s - 0.01 ? ", terminal observation" : "";
  return `${at}, ${seconds(time)} of ${seconds(facts.duration_s)}${after}`;
}

function scrubber() {
  const says = html("output", {});
  const slider = html("input", {
    type: "range",
    min: 0,
    max: stops.length - 1,
    step: 1,
    value: 0,
    name: "scrubber",
    "aria-label": "place in the episode",
    oninput: (event) => goTo(Number(event.target.value)),
  });
  const button = html("button", { type: "button", class: "plain", onclick: () => (timer ? halt() : play()) }, "play");
  let timer = null;
  function halt() {
    cancelAnimationFrame(timer);
    timer = null;
    button.textContent = "play";
  }
  function play() {
    if (stop === stops.length - 1) goTo(0);
    button.textContent = "pause";
    const from = stops[stop],
      begun = performance.now();
    const step = (now) => {
      const at = indexAt(stops, from + (now - begun) / 1000);
      if (at > stop) goTo(at);
      if (stop < stops.length - 1) timer = requestAnimationFrame(step);
      else halt();
    };
    timer = requestAnimationFrame(step);
  }
  slider.addEventListener("pointerdown", halt);
  slider.addEventListener("keydown", halt);
  listeners.push((time) => {
    slider.value = stop;
    slider.setAttribute("aria-valuetext", place(time));
    says.textContent = place(time);
  });
  return html("div", { class: "scrub" }, button, slider, says);
}

function eventList() {
  return html(
    "ul",
    { class: "events", "aria-label": "events" },
    events.map((event) =>
      html(
        "li",
        {},
        html("button", { type: "button", onclick: () => seek(event.time_s) }, seconds(event.time_s)),
        " ",
        html("b", { class: eventClass(event) }, event.kind),
        event.text ? html("span", { class: "dim" }, ` ${event.text}`) : "",
      ),
    ),
  );
}

// -- charts -----------------------------------------------------------------------------------------------------------

function chart(options) {
  const made = timeChart({ end, events, seek, taken_over: facts.taken_over_s, absent: "not recorded", unit: "", ...options });
  listeners.push(made.show);
  return made;
}

function signals() {
  if (!decisions.times.length) return section("Signals", note("No safety signals were recorded."));
  const charts = data.signals.map((signal) =>
    chart({
      title: signal.name,
      unit: signal.unit,
      absent: "not valid in this episode",
      lines: [{ times: decisions.times, values: signal.values, name: signal.group }],
    }),
  );
  return section(
    "Signals",
    note("A value for each decision, none where it is not valid. Dashed: events. Click or drag to go there."),
    known(facts.taken_over_s)
      ? note(`Shaded: ${facts.taken_over_by} acts, from ${seconds(facts.taken_over_s)} on (${facts.taken_over_when}).`)
      : null,
    html(
      "div",
      { class: "charts" },
      charts.map((made) => made.element),
    ),
  );
}

function risk() {
  if (!data.risk.length) return "";
  const charts = data.risk.map((kind) =>
    chart({
      title: kind.name,
      absent: "nothing was held",
      lines: [
        { times: kind.times, values: kind.thresholds, name: "threshold" },
        { times: kind.times, values: kind.values, name: "probability" },
      ],
    }),
  );
  return section(
    "Risk",
    note("What the failure predictor foresaw at each decision; above its threshold it is an alarm."),
    html(
      "div",
      { class: "charts" },
      charts.map((made) => made.element),
    ),
  );
}

function motions() {
  if (!data.interventions) return "";
  const band = motionBand({ end, events, seek, parts: data.interventions.parts });
  listeners.push(band.show);
  return interventions(data.interventions, chart, band.element);
}

function jointCharts() {
  if (!joints.measured_times.length && !joints.commanded_times.length)
    return section("Joints", note("No joint positions were recorded."));
  let whole = false;
  const charts = joints.joints.map((joint) =>
    chart({
      title: joint.name.replace("panda_", ""),
      unit: joint.unit,
      limits: [joint.lower, joint.upper],
      whole: () => whole,
      lines: [
        { times: joints.commanded_times, values: joint.commanded, name: "commanded" },
        { times: joints.measured_times, values: joint.measured, name: "measured" },
      ],
    }),
  );
  const box = html("input", {
    type: "checkbox",
    name: "whole",
    onchange: (event) => {
      whole = event.target.checked;
      charts.forEach((made) => made.redraw());
    },
  });
  return section(
    "Joints",
    html(
      "div",
      { class: "controls" },
      html("span", { class: "key commanded" }, "commanded"),
      html("span", { class: "key measured" }, "measured"),
      html("span", { class: "key limit" }, "limit"),
      html("label", {}, box, "show the whole range between the limits"),
    ),
    html(
      "div",
      { class: "charts" },
      charts.map((made) => made.element),
    ),
  );
}

function latency() {
  if (!data.latency) return section("Latency", note("How long a decision took is not recorded."));
  const made = chart({
    title: "from the observation to the chunk",
    unit: "ms",
    lines: [{ times: decisions.times, values: decisions.latency, name: "execution" }],
  });
  return section(
    "Latency",
    html(
      "p",
      { class: "facts" },
      fact("median", `${number(data.latency.median)} ms`),
      fact("95 % at most", `${number(data.latency.p95)} ms`),
      fact("longest", `${number(data.latency.max)} ms`),
      fact("decisions", String(data.latency.count)),
    ),
    made.element,
  );
}

function messages() {
  if (!data.topics.length) return section("Messages", note("Rollouts have no messages, so there is nothing to audit."));
  const columns = [
    { title: "topic" },
    { title: "from [s]", number: true },
    { title: "to [s]", number: true },
    { title: "missing", number: true },
  ];
  const holes = data.gaps.map((gap) => [gap.topic, gap.from.toFixed(2), gap.to.toFixed(2), String(gap.missing)]);
  return section(
    "Messages",
    note("What the recorder found in the bag. A gap is an interval of more than 1.5 periods."),
    holes.length ? table("gaps", columns, holes).box : html("p", {}, "No gap in any topic."),
    audit(data.topics, false),
  );
}

const link = (href, text) => (href ? html("a", { href }, text) : html("span", { class: "dim" }, text));
page.append(
  html(
    "nav",
    { "aria-label": "pages" },
    link("index.html", `run ${data.run}`),
    link(data.before, "← episode before"),
    link(data.after, "episode after →"),
  ),
  html("h1", {}, `Episode ${facts.number} `, outcome(facts.outcome), takenOver(facts)),
  html(
    "p",
    { class: "facts" },
    fact("seed", String(facts.seed)),
    fact("policy", facts.policy),
    fact("decisions", String(facts.decisions)),
    fact("sim time", seconds(facts.duration_s)),
    fact("wall time", seconds(facts.wall_s)),
    fact("gaps", known(facts.gaps) ? bad(facts.gaps) : "–"),
    facts.surplus ? fact("messages above what was due", bad(facts.surplus)) : "",
    facts.recovered ? html("b", { class: "warn" }, "recovered") : "",
  ),
  html("p", {}, html("span", { class: "dim" }, "task "), facts.task),
  facts.detail ? html("p", {}, html("span", { class: "dim" }, "end "), facts.detail) : "",
  html(
    "div",
    { class: "layout" },
    html("div", { class: "panel" }, cameraViews(), scrubber(), eventList()),
    html(
      "div",
      {},
      pictures.cameras.length ? filmStrip() : "",
      risk(),
      motions(),
      signals(),
      jointCharts(),
      latency(),
      messages(),
      data.provenance.length ? section("Provenance", folded("Facts of the nodes", data.provenance)) : "",
    ),
  ),
);
goTo(0);
