"use strict";
// The page of a run.

const episodes = data.episodes;
const present = [...OUTCOMES, "HANDED_OVER", "ABORTED", "RUNNING"].filter((name) =>
  episodes.some((episode) => episode.outcome === name),
);
const shown = new Set(present);
const order = { key: "number", down: false };
let search = "";

// -- what ended how ---------------------------------------------------------------------------------------------------

function shareBar(share) {
  const x = (value) => 4 + value * 192;
  const parts = [svg("rect", { class: "range", x: 4, y: 3, width: 192, height: 12 })];
  if (known(share.share)) {
    parts.push(svg("rect", { class: "share", x: 4, y: 6, width: x(share.share) - 4, height: 6 }));
  }
  parts.push(
    svg("path", {
      class: "interval",
      d: `M${x(share.low)} 3v12M${x(share.low)} 9H${x(share.high)}M${x(share.high)} 3v12`,
    }),
  );
  return svg("svg", { class: share.name, viewBox: "0 0 200 18", width: 200, height: 18, "aria-hidden": true }, parts);
}

function outcomes() {
  const columns = [
    { title: "outcome" },
    { title: "episodes", number: true },
    { title: "share", number: true },
    { title: "95 % interval", number: true },
    { title: "0 to 100 %" },
  ];
  const rows = data.outcomes.map((share) => [
    share.name.includes(" ") ? share.name : outcome(share.name),
    String(share.count),
    percent(share.share),
    `${percent(share.low)} to ${percent(share.high)}`,
    shareBar(share),
  ]);
  const apart = Object.entries(data.apart)
    .map(([name, total]) => `${total} ${name}`)
    .join(", ");
  return section(
    "Outcomes",
    note(
      `Of ${count(data.complete, "complete episode")}; Wilson intervals. Physical failures are COLLISION, ` +
        "DROP and MISS; TIMEOUT only says that nothing happened in time." +
        (apart ? ` Not counted: ${apart}.` : ""),
    ),
    table("outcomes", columns, rows).box,
  );
}

// -- alarms against outcomes ------------------------------------------------------------------------------------------

const leadTime = (leads) => (leads ? seconds(leads[1]) : "–");
const leadRange = (leads) => (leads ? `${fixed(leads[0], 2)} to ${fixed(leads[2], 2)} s` : "–");

function alarmNotes(found) {
  const promised = found.alphas.map((alpha) => percent(alpha)).join(", ");
  const apart = Object.entries(found.apart)
    .map(([name, [alarmed, total]]) => `${alarmed} of ${total} ${name} alarmed`)
    .join(", ");
  return [
    note(
      "Whether the failure predictor ever alarmed before the event that ended the episode, or before its end; Wilson " +
        "intervals. A failure is every outcome but SUCCESS." +
        (promised ? ` Promised: at most ${promised} of successes like those that it was calibrated on.` : "") +
        (apart ? ` Counted apart: ${apart}.` : ""),
    ),
    found.unforeseen
      ? html("p", { class: "warn" }, `Nothing was foreseen in ${count(found.unforeseen, "complete episode")}.`)
      : "",
    found.uncalibrated
      ? html(
          "p",
          { class: "warn" },
          `${count(found.uncalibrated, "complete episode")} left out: the predictor was not calibrated and cannot alarm.`,
        )
      : "",
  ];
}

function alarms() {
  const found = data.alarms;
  if (!found) return "";
  const [successes, failures] = found.outcomes;
  const columns = [
    { title: "outcome" },
    { title: "alarm", number: true },
    { title: "none", number: true },
    { title: "episodes", number: true },
    { title: "share that alarmed", number: true },
    { title: "95 % interval", number: true },
    { title: "0 to 100 %" },
  ];
  const rows = [
    ["success", "SUCCESS", successes],
    ["failure", "failed", failures],
  ].map(([name, kind, share]) => [
    html("span", { class: `outcome ${kind}` }, name),
    String(share.count),
    String(share.total - share.count),
    String(share.total),
    percent(share.share),
    share.total ? `${percent(share.low)} to ${percent(share.high)}` : "–",
    shareBar({ ...share, name: kind }),
  ]);
  const kinds = [
    { title: "first alarm" },
    { title: "successes", number: true },
    { title: "failures", number: true },
    { title: "lead (median)", number: true },
    { title: "lead (range)", number: true },
  ];
  const missed = failures.total - failures.count;
  return section(
    "Alarms",
    alarmNotes(found),
    table("alarms against outcomes", columns, rows).box,
    failures.total
      ? html(
          "p",
          { class: "facts" },
          fact("from the first alarm to the failure (median)", leadTime(found.leads)),
          fact("range", leadRange(found.leads)),
          fact(
            "failures never alarmed",
            `${missed} of ${failures.total} = ${percent(1 - failures.share)} ` +
              `(${percent(1 - failures.high)} to ${percent(1 - failures.low)})`,
          ),
        )
      : "",
    found.kinds.length
      ? table(
          "alarms by kind",
          kinds,
          found.kinds.map((kind) => [
            kind.name,
            String(kind.successes),
            String(kind.failures),
            leadTime(kind.leads),
            leadRange(kind.leads),
          ]),
        ).box
      : note("No complete episode alarmed."),
  );
}

// -- episodes ---------------------------------------------------------------------------------------------------------

const column = (key, title, cell, options) => ({ key, title, cell, number: true, sort: () => sortBy(key), ...options });
const plain = (key) => (episode) => String(episode[key]);
const picture = (episode) => html("img", { src: episode.thumbnail, alt: "", loading: "lazy", width: 40, height: 40 });
const remarks = (episode) =>
  [
    episode.detail,
    known(episode.taken_over_s) &&
      `${episode.taken_over_by} took over at ${seconds(episode.taken_over_s)} (${episode.taken_over_when}), counted apart`,
    episode.recovered && "recovered", !episode.counted && "made again, not counted",
  ]
    .filter(Boolean)
    .join("; ");
const COLUMNS = [
  { title: "end", key: "thumbnail", cell: (episode) => (episode.thumbnail ? picture(episode) : "") },
  column("number", "episode", (episode) => html("a", { href: episode.page }, String(episode.number))),
  column("seed", "seed", plain("seed")),
  column(
    "outcome",
    "outcome",
    (episode) =>
      html(
        "span",
        {},
        outcome(episode.outcome),
        takenOver(episode),
      ),
    { number: false },
  ),
  column("alarm_s", "first alarm", (episode) =>
    known(episode.alarm_s) ? `${episode.alarm}, ${seconds(episode.alarm_s)}` : "–",
  ),
  column("interventions", "interventions", (episode) => episode.interventions || "–", { number: false }),
  column("decisions", "decisions", plain("decisions")),
  column("duration_s", "sim time [s]", (episode) => fixed(episode.duration_s, 1)),
  column("wall_s", "wall time [s]", (episode) => fixed(episode.wall_s, 1)),
  column("rate", "decisions per s", (episode) => fixed(episode.rate, 1)),
  column("gaps", "gaps", (episode) => (known(episode.gaps) ? bad(episode.gaps) : "–")),
  { title: "what happened", text: true, cell: remarks },
  // Without those of which nothing is known in this run.
].filter(({ key }) => !key || episodes.some((episode) => known(episode[key]) && episode[key] !== ""));

const found = html("output", { "aria-live": "polite", class: "dim" });
const list = table("episodes", COLUMNS, [], true);
const rowOf = new Map(
  episodes.map((episode) => [
    episode,
    tableRow(
      COLUMNS,
      COLUMNS.map(({ cell }) => cell(episode)),
    ),
  ]),
);

function sortBy(key) {
  order.down = order.key === key ? !order.down : false;
  order.key = key;
  update();
}

function compare(one, other) {
  const [left, right] = [one[order.key], other[order.key]];
  // What is not known comes last in either direction.
  if (!known(left) || !known(right)) return known(right) - known(left);
  const sign = left < right ? -1 : left > right ? 1 : 0;
  return order.down ? -sign : sign;
}

function update() {
  const words = search.toLowerCase();
  const wanted = episodes.filter(
    (episode) =>
      shown.has(episode.outcome) &&
      [String(episode.number), String(episode.seed), episode.detail.toLowerCase()].some((text) => text.includes(words)),
  );
  list.body.replaceChildren(...wanted.sort(compare).map((episode) => rowOf.get(episode)));
  found.textContent = `${wanted.length} of ${count(episodes.length, "episode")}`;
  list.head.forEach((cell, at) => {
    if (COLUMNS[at].key === order.key) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
}

function filters() {
  const boxes = present.map((name) =>
    html(
      "label",
      {},
      html("input", {
        type: "checkbox",
        checked: true,
        value: name,
        name: "outcome",
        onchange: (event) => {
          shown[event.target.checked ? "add" : "delete"](name);
          update();
        },
      }),
      outcome(name),
      html("span", { class: "dim" }, String(episodes.filter((episode) => episode.outcome === name).length)),
    ),
  );
  const field = html("input", {
    type: "search",
    name: "search",
    placeholder: "number, seed or words",
    oninput: (event) => {
      search = event.target.value;
      update();
    },
  });
  return html(
    "div",
    { class: "controls", role: "group", "aria-label": "filters" },
    boxes,
    html("label", {}, "find ", field),
    found,
  );
}

// -- over the run -----------------------------------------------------------------------------------------------------

function distributions() {
  const charts = data.signals.map((signal, at) =>
    spreadChart({
      title: signal.name,
      unit: signal.unit,
      rows: Object.entries(signal.outcomes)
        .filter(([, spread]) => spread)
        .map(([name, spread]) => {
          const own = episodes.filter((episode) => episode.counted && episode.outcome === name);
          return {
            name,
            spread,
            values: own.map((episode) => episode.means[at]),
            pages: own.map((episode) => episode.page),
            labels: own.map((episode) => `episode ${episode.number}`),
          };
        }),
    }),
  );
  const box = html(
    "div",
    {
      class: "charts",
      onclick: (event) => {
        const dot = event.target.closest("[data-page]");
        if (dot) location.href = dot.dataset.page;
      },
    },
    charts,
  );
  return section(
    "Signals by outcome",
    note(
      "A dot is the mean over the decisions of one episode; click it to open the episode. The box " +
        "goes from the first to the third quartile with the median, the line from the 5th to the 95th percentile.",
    ),
    box,
  );
}

const between = (low, high) => `${number(low)} to ${number(high)}`;

function margins() {
  const columns = [
    { title: "joint" },
    { title: "range used" },
    { title: "smallest margin", number: true },
    { title: "of the range", number: true },
    { title: "in episode", number: true },
    { title: "largest commanded speed [rad/s]", number: true },
    { title: "limit [rad/s]", number: true },
  ];
  const rows = data.joints.map((joint) => {
    const x = (value) => 4 + ((value - joint.lower) / (joint.upper - joint.lower)) * 192;
    const bar = svg(
      "svg",
      {
        viewBox: "0 0 200 16",
        width: 200,
        height: 16,
        role: "img",
        "aria-label": `${between(joint.lowest, joint.highest)} of ${between(joint.lower, joint.upper)} ${joint.unit}`,
      },
      svg("rect", { class: "range", x: 4, y: 4, width: 192, height: 8 }),
      svg("rect", {
        class: "used",
        x: x(joint.lowest),
        y: 4,
        width: Math.max(1, x(joint.highest) - x(joint.lowest)),
        height: 8,
      }),
    );
    const margin = withUnit(joint.margin, joint.unit);
    return [
      joint.name,
      bar,
      joint.margin < 0 ? html("span", { class: "warn" }, margin) : margin,
      percent(joint.share),
      html("a", { href: joint.page }, String(joint.episode)),
      number(joint.speed),
      number(joint.speed_limit),
    ];
  });
  if (!rows.length) return section("Joint limits", note("No joint positions were recorded."));
  return section(
    "Joint limits",
    note("Measured positions inside the limits of the arm, over all episodes."),
    table("joint limits", columns, rows).box,
  );
}

function throughput() {
  const total = data.throughput;
  const facts = [
    fact("episodes", String(total.episodes)),
    fact("decisions", number(total.decisions)),
    fact("sim time", `${number(total.sim_s)} s`),
  ];
  if (total.timed) {
    facts.push(
      fact("wall time", `${number(total.wall_s)} s`),
      fact("decisions per second", number(total.decisions_per_s)),
      fact("sim time per wall time", number(total.real_time)),
      fact("episodes per hour", number(total.episodes_per_h)),
    );
  }
  const latency = total.latency;
  return section(
    "Throughput",
    html("p", { class: "facts" }, facts),
    total.timed
      ? note(`Wall time while ${count(total.timed, "episode")} went on; starting the graph and resets are not in it.`)
      : note("The wall time of these episodes is not recorded."),
    latency
      ? html(
          "p",
          { class: "facts" },
          fact("a decision took (median)", `${number(latency.median)} ms`),
          fact("95 % at most", `${number(latency.p95)} ms`),
          fact("longest", `${number(latency.max)} ms`),
        )
      : note("How long a decision took is not recorded."),
  );
}

function gaps() {
  if (!data.topics.length) return section("Messages", note("Rollouts have no messages, so there is nothing to audit."));
  return section(
    "Messages",
    note("What the recorder found in all bags together. A gap is an interval of more than 1.5 periods."),
    audit(data.topics, true),
  );
}

page.append(
  html("h1", {}, `Run ${data.run}`),
  html(
    "p",
    { class: "facts" },
    fact("made by", data.made_by),
    fact("policy", data.policy),
    fact("profile", data.profile),
    fact("created", data.created.replace("T", " ")),
  ),
  data.interrupted.length
    ? html("p", { class: "warn" }, `Never finished, see \`salus bag recover\`: ${data.interrupted.join(", ")}`)
    : "",
  outcomes(),
  alarms(),
  motionShares(data.interventions),
  section("Episodes", filters(), list.box),
  distributions(),
  margins(),
  throughput(),
  gaps(),
  section(
    "Provenance",
    note("The command that makes this run again:"),
    html("p", {}, html("code", {}, data.command)),
    folded("Arguments", data.arguments),
    folded(
      data.made_by === "salus collect" ? "Facts of the run and of its first bag" : "Facts of the run",
      data.provenance,
    ),
  ),
);
update();
