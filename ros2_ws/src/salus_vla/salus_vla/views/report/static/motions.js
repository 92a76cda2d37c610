"use strict";
// Interventions: which motion was in force, on the time axis of an episode, and how often, in the page of a run.

const motionKey = (motion) => html("span", { class: `key motion ${motion.style}` }, html("span", {}, motion.name));

/**
 * A band over the time of the episode, in the colour of the motion in force.
 * options: parts [{name, style, from, to, words, acted}], end [s], events, seek(time).
 * Gives its element and show(time), which moves the cursor and says the motion there.
 */
function motionBand(options) {
  const height = 46;
  const says = html("output", {});
  const picture = svg("svg", { role: "img", height, class: "seekable" });
  const element = html("div", { class: "chart" }, html("h3", {}, "motion in force", says), picture);
  const spoken = options.parts.map((part) => `${part.name} from ${seconds(part.from)}`).join(", ");
  picture.setAttribute("aria-label", `motion in force: ${spoken}`);
  let x = null,
    now = 0,
    cursor = null;

  function draw(width) {
    x = (time) => LEFT + (time / (options.end || 1)) * (width - LEFT - RIGHT);
    const bands = options.parts.map((part) =>
      svg(
        "rect",
        {
          class: `motion ${part.style}${part.acted ? "" : " advised"}`,
          x: x(part.from),
          y: TOP,
          width: Math.max(1, x(part.to) - x(part.from)),
          height: height - TOP - BOTTOM,
        },
        svg("title", {}, `${part.words} from ${seconds(part.from)}`),
      ),
    );
    const parts = [...timeAxis(options.end, width, height, x), ...bands];
    for (const event of options.events)
      if (event.kind !== "INTERVENTION") parts.push(eventLine(event, x, height)); // which the band itself shows
    cursor = svg("line", { class: "cursor", y1: TOP, y2: height - BOTTOM });
    picture.replaceChildren(...parts, cursor);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    show(now);
  }
  function show(time) {
    now = time;
    const part = options.parts.findLast((one) => one.from <= time + 0.01);
    says.textContent = part ? part.words : "";
    if (!cursor) return;
    cursor.setAttribute("x1", x(time));
    cursor.setAttribute("x2", x(time));
  }
  seekable(picture, options);
  drawn(element, draw);
  return { element, show };
}

/** The section of an episode: the band, and the risk of each motion that was weighed. */
function interventions(found, chart, band) {
  if (!found) return "";
  const risks = found.risks.filter((risk) => risk.values.some(known));
  const parts = [
    note(
      (risks.length
        ? "Which motion was in force, and the probability of failure with each one that was weighed."
        : "Which motion was in force. No risks were weighed: it was drawn at random, or is always the same.") +
        (found.acted ? "" : " Advised only: the arm followed the plan."),
    ),
    band,
    html("p", { class: "controls keys" }, found.motions.map(motionKey)),
  ];
  if (risks.length) {
    const made = chart({
      title: "probability of failure with each motion",
      height: 150,
      lines: risks.map((risk) => ({ times: found.times, values: risk.values, name: `motion ${risk.style}` })),
      say: (time) => {
        const at = indexAt(found.times, time);
        const named = risks.filter((risk) => risk.name === "plan" || risk.name === found.chosen[at]);
        return named.map((risk) => `${risk.name} ${percent(risk.values[at])}`).join(" / ");
      },
    });
    parts.push(made.element);
  }
  if (found.distances.some(known)) {
    const made = chart({
      title: "distance of the plan from successful episodes; above 1 it is outside",
      lines: [
        { times: found.times, values: found.distances.map(() => 1), name: "threshold" },
        { times: found.times, values: found.distances, name: "probability" },
      ],
      say: (time) => number(found.distances[indexAt(found.times, time)]),
    });
    parts.push(made.element);
  }
  return section("Interventions", ...parts);
}

/** The section of a run: decisions by motion; what was handed over stands apart. */
function motionShares(found) {
  if (!found) return "";
  const columns = [
    { title: "motion" },
    { title: "decisions", number: true },
    { title: "share", number: true },
    { title: "episodes", number: true },
    { title: "0 to 100 %" },
  ];
  const rows = found.motions.map((motion) => [
    motionKey(motion),
    number(motion.decisions),
    percent(motion.share),
    String(motion.episodes),
    svg(
      "svg",
      { class: motion.style, viewBox: "0 0 200 18", width: 200, height: 18, "aria-hidden": true },
      svg("rect", { class: "range", x: 4, y: 3, width: 192, height: 12 }),
      svg("rect", { class: "share", x: 4, y: 6, width: 192 * motion.share, height: 6 }),
    ),
  ]);
  return section(
    "Interventions",
    note(
      `Decisions by the motion in force, in ${count(found.total, "episode")} in which somebody could intervene. ` +
        "An episode that was handed over to a person is neither a success nor a failure and is counted apart.",
    ),
    html(
      "p",
      { class: "facts" },
      fact("episodes with another motion than the plan", `${found.intervened} of ${found.total}`),
      fact("handed over", `${found.handed_over} of ${found.total}`),
      found.advised ? fact("advised only", String(found.advised)) : "",
    ),
    table("interventions", columns, rows).box,
  );
}
