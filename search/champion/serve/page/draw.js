// Shows an answer of /predict: genre, probabilities, waveform, timeline, similar tracks.

const $ = (id) => document.getElementById(id);
const N_KINDS = 5;

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

// Each of the most probable genres gets a colour, the same in bars, waveform and timeline.
function colours(answer) {
  const seconds = {};
  for (const one of answer.timeline) seconds[one.label] = (seconds[one.label] || 0) + one.end_s - one.start_s;
  const order = Object.keys(answer.proba).sort(
    (a, b) => (seconds[b] || 0) - (seconds[a] || 0) || answer.proba[b] - answer.proba[a],
  );
  const first = [answer.label, ...order.filter((label) => label !== answer.label)];
  return (label) => {
    const at = first.indexOf(label);
    return at >= 0 && at < N_KINDS ? `kind-${at}` : "kind-rest";
  };
}

function drawBars(answer, kind) {
  const rows = Object.entries(answer.proba).sort((a, b) => b[1] - a[1]).map(([label, share]) => {
    const row = element("li");
    const track = element("span", "track");
    track.setAttribute("aria-hidden", "true");
    const fill = element("div", `fill ${kind(label)}`);
    fill.style.width = `${100 * share}%`;
    track.append(fill);
    const what = element("span", "what", label);
    what.title = label;
    row.append(what, track, element("span", "figure", percent(share)));
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
    bar.setAttribute("class", kind(answer.timeline[at].label));
    return bar;
  });
  $("wave").replaceChildren(...bars);
}

function drawTimeline(answer, kind) {
  const player = $("player");
  const blocks = answer.timeline.map((one) => {
    const block = element("button", kind(one.label), one.label);
    block.type = "button";
    block.style.flexGrow = one.end_s - one.start_s;
    const text = `${clock(one.start_s)} to ${clock(one.end_s)}: ${one.label}, ${percent(one.proba[one.label])}`;
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
  $("timeline").replaceChildren(...blocks);
  $("moment").textContent = "Each block is a segment. Choose one to play it; arrow keys move from one to the next.";
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

export function draw(answer, name, coverage) {
  const kind = colours(answer);
  $("name").textContent = `${name} · ${clock(answer.duration_s)}`;
  $("genre").textContent = answer.label;
  $("confidence").textContent = `${percent(answer.proba[answer.label])} confidence`;
  $("out-of-distribution").hidden = !answer.none_of_these;
  $("inside").textContent = answer.set.length > 1
    ? `In ${percent(coverage)} of cases the true genre is one of: ${answer.set.join(", ")}.` : "";
  $("result").hidden = false;
  drawBars(answer, kind);
  drawWave(answer, kind);
  drawTimeline(answer, kind);
  drawSimilar(answer);
}
