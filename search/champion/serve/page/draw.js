// Shows an answer of /predict: labels, probabilities, waveform, timeline, similar tracks.
// An answer has one `label`, or the `labels` that reach their thresholds, which may be none.

const $ = (id) => document.getElementById(id);
const N_KINDS = 5;
const N_LANES = 12;

// Never 0 % or 100 %: a calibrated probability is never certain.
function percent(share) {
  if (share < 0.0005) return "< 0.1 %";
  if (share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(share < 0.0995 || share >= 0.995 ? 1 : 0)} %`;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

// The labels of a recording or of a segment, the most probable first.
function predicted(one) {
  return one.labels ? one.labels.map((each) => each.label) : [one.label];
}

export function labelsText(one) {
  return predicted(one).join(", ") || "no label";
}

// The labels that get a colour: those of the recording, then those of most of its segments; of
// single labels then the most probable.
function inOrder(answer) {
  const seconds = {};
  for (const one of answer.timeline) {
    for (const label of predicted(one)) seconds[label] = (seconds[label] || 0) + one.end_s - one.start_s;
  }
  const own = predicted(answer);
  const others = Object.keys(answer.proba).filter((label) => !own.includes(label) && (!answer.labels || label in seconds));
  others.sort((a, b) => (seconds[b] || 0) - (seconds[a] || 0) || answer.proba[b] - answer.proba[a]);
  return [...own, ...others];
}

// Each of the first labels gets a colour, the same in bars, waveform and timeline.
function colours(order) {
  return (label) => {
    const at = order.indexOf(label);
    return at >= 0 && at < N_KINDS ? `kind-${at}` : "kind-rest";
  };
}

// Marks the threshold in a bar, and whether the label reaches it.
function markThreshold(row, track, threshold, reached) {
  const mark = element("div", "threshold");
  mark.style.left = `${100 * threshold}%`;
  track.append(mark);
  row.title = `threshold ${percent(threshold)}`;
  row.classList.toggle("predicted", reached);
  row.append(element("span", "spoken", `${reached ? "reaches" : "below"} its threshold of ${percent(threshold)}`));
}

function drawBars(answer, kind, thresholds) {
  const own = predicted(answer);
  const rows = Object.entries(answer.proba).sort((a, b) => b[1] - a[1]).map(([label, share]) => {
    const row = element("li");
    const track = element("span", "track");
    track.setAttribute("aria-hidden", "true");
    const colour = answer.labels && !own.includes(label) ? "kind-rest" : kind(label);
    const fill = element("div", `fill ${colour}`);
    fill.style.width = `${100 * share}%`;
    track.append(fill);
    const what = element("span", "what", label);
    what.title = label;
    row.append(what, track, element("span", "figure", percent(share)));
    if (answer.labels) markThreshold(row, track, thresholds[label], own.includes(label));
    return row;
  });
  $("bars").replaceChildren(...rows);
}

function drawWave(answer, kind) {
  const svg = "http://www.w3.org/2000/svg";
  const width = 1000 / answer.peaks.length;
  let at = 0;
  const bars = answer.peaks.map((peak, i) => {
    const time = ((i + 0.5) / answer.peaks.length) * answer.duration_s;
    while (at < answer.timeline.length - 1 && time >= answer.timeline[at].end_s) at += 1;
    const bar = document.createElementNS(svg, "rect");
    const height = Math.max(1.5, 116 * peak);
    const place = { x: i * width, y: 60 - height / 2, width: width * 0.75, height };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value.toFixed(2));
    bar.setAttribute("class", kind(predicted(answer.timeline[at])[0]));
    return bar;
  });
  $("wave").replaceChildren(...bars);
}

// A segment of several labels has a row for each label, coloured where the label is predicted.
function withLanes(block, one, lanes, kind) {
  const own = predicted(one);
  block.append(...lanes.map((label) => element("span", `lane ${own.includes(label) ? kind(label) : ""}`)));
  return block;
}

function laneNames(lanes) {
  const names = element("div", "lane-names");
  names.setAttribute("aria-hidden", "true");
  for (const label of lanes) {
    const row = element("span");
    row.append(element("b", "", label));
    names.append(row);
  }
  return names;
}

function drawTimeline(answer, kind, order) {
  const player = $("player");
  const lanes = answer.labels ? order.slice(0, N_LANES) : [];
  const blocks = answer.timeline.map((one) => {
    const block = answer.labels
      ? withLanes(element("button"), one, lanes, kind)
      : element("button", kind(one.label), one.label);
    block.type = "button";
    block.style.flexGrow = one.end_s - one.start_s;
    const found = predicted(one).map((label) => `${label}, ${percent(one.proba[label])}`).join("; ");
    const text = `${clock(one.start_s)} to ${clock(one.end_s)}: ${found || "no label"}`;
    block.setAttribute("aria-label", text);
    block.setAttribute("aria-pressed", "false");
    block.title = text;
    block.addEventListener("focus", () => { $("moment").textContent = text; });
    block.addEventListener("click", () => {
      for (const other of blocks) other.setAttribute("aria-pressed", String(other === block));
      $("moment").textContent = text;
      player.currentTime = one.start_s;
      player.play().catch(() => {});
    });
    return block;
  });
  // one Tab stop; arrow keys move within
  blocks.forEach((block, i) => {
    block.tabIndex = i ? -1 : 0;
    block.addEventListener("keydown", (event) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: blocks.length - 1 }[event.key];
      if (to === undefined || !blocks[to]) return;
      event.preventDefault();
      block.tabIndex = -1;
      blocks[to].tabIndex = 0;
      blocks[to].focus();
    });
  });
  $("timeline").classList.toggle("lanes", Boolean(answer.labels));
  $("timeline").replaceChildren(...blocks, ...(answer.labels ? [laneNames(lanes)] : []));
  const what = answer.labels ? "Each column is a segment, each row a label." : "Each block is a segment.";
  const left = answer.labels && order.length > N_LANES ? ` ${order.length - N_LANES} rarer labels have no row.` : "";
  $("moment").textContent = `${what}${left} Choose one to play it; arrow keys move from one to the next.`;
}

function drawSimilar(answer) {
  $("neighbours").hidden = !answer.similar;
  const rows = (answer.similar || []).map((one) => {
    const row = element("li");
    row.append(element("span", "title", one.track));
    const about = [one.artist, one.label, `similarity ${one.similarity.toFixed(2)}`];
    row.append(element("span", "about", about.filter(Boolean).join(" · ")));
    return row;
  });
  $("similar").replaceChildren(...(rows.length ? rows : [element("li", "soft", "The library is empty.")]));
}

// The heading, the probabilities below it, and what the conformal set says.
function drawLabels(answer, coverage) {
  const own = predicted(answer);
  $("genre").textContent = answer.labels ? own.join(", ") || "No label" : answer.label;
  $("genre").classList.toggle("many", own.length > 2);
  $("none").hidden = Boolean(answer.labels);
  if (!answer.labels) {
    $("confidence").textContent = `${percent(answer.proba[answer.label])} confidence`;
    $("inside").textContent = answer.set.length > 1
      ? `In ${percent(coverage)} of cases the true genre is one of: ${answer.set.join(", ")}.` : "";
    return;
  }
  const [first] = answer.top;
  $("confidence").textContent = own.map((label) => `${label} ${percent(answer.proba[label])}`).join(", ")
    || `No label reaches its threshold; the most probable is ${first.label}, ${percent(first.proba)}.`;
  const others = answer.set.filter((label) => !own.includes(label));
  const also = ` It may also have: ${others.join(", ")}. With these, on average ${percent(coverage)} of a recording's labels are found.`;
  $("inside").textContent = `The line in a bar is the label's threshold.${others.length ? also : ""}`;
}

export function draw(answer, name, about) {
  const order = inOrder(answer);
  const kind = colours(order);
  $("name").textContent = `${name} · ${clock(answer.duration_s)}`;
  $("out-of-distribution").hidden = !(answer.none_of_these || answer.out_of_distribution);
  $("result").hidden = false;
  drawLabels(answer, about.coverage);
  drawBars(answer, kind, about.thresholds);
  drawWave(answer, kind);
  drawTimeline(answer, kind, order);
  drawSimilar(answer);
}
