// Uploads a recording to /predict, and lets draw.js show the answer.

import { clock, draw, labelsText } from "./draw.js";
import { startRecording, toWav } from "./record.js";

const $ = (id) => document.getElementById(id);
const QUERY = "timeline=true&segment_s=3&peaks=400&top=3";
let about = { coverage: 0.9 };
let latest = 0;
let stop = null;
let changing = false;
let ticking = 0;

function showState(text) { $("state").textContent = text; }

function showError(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

async function predict(blob) {
  const headers = { "Content-Type": "application/octet-stream" };
  if ($("token").value) headers.Authorization = `Bearer ${$("token").value}`;
  const response = await fetch(`predict?${QUERY}`, { method: "POST", body: blob, headers });
  const answer = await response.json().catch(() => ({ error: response.status, detail: response.statusText }));
  return { status: response.status, answer };
}

async function classify(blob, name) {
  latest += 1;
  const own = latest;
  showError("");
  showState(`Analysing ${name} …`);
  document.body.setAttribute("aria-busy", "true");
  try {
    let { status, answer } = await predict(blob);
    if (status === 415) { // the browser may decode a format that the server cannot
      const converted = await toWav(blob).catch(() => null);
      if (converted) ({ status, answer } = await predict(converted));
    }
    if (own !== latest) return;
    if (status === 401) { $("token-row").hidden = false; $("token").focus(); }
    if (status !== 200) { showError(`${name}: ${answer.error} (${answer.detail})`); showState(""); return; }
    if ($("player").src) URL.revokeObjectURL($("player").src);
    $("player").src = URL.createObjectURL(blob);
    draw(answer, name, about);
    showState(`${name} ${answer.labels ? "has" : "is"} ${labelsText(answer)}.`);
    $("result").focus({ preventScroll: true });
    $("result").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (own !== latest) return;
    showState("");
    showError(`The server did not answer (${error.message}). Is it still running? Is the file too large?`);
  } finally {
    if (own === latest) document.body.removeAttribute("aria-busy");
  }
}

async function record() {
  const button = $("record");
  if (changing) return; // a disabled button would lose the focus, and the next key would go nowhere
  changing = true;
  try {
    if (stop) {
      clearInterval(ticking);
      const end = stop;
      stop = null;
      button.textContent = "Record";
      button.setAttribute("aria-pressed", "false");
      await classify(await end(), "Your recording");
    } else {
      showError("");
      stop = await startRecording();
      button.textContent = "Stop";
      button.setAttribute("aria-pressed", "true");
      const began = performance.now();
      const tick = () => {
        const seconds = (performance.now() - began) / 1000;
        showState(`Recording: ${clock(seconds)}`);
        if (seconds >= (about.duration_s || 600) - 1) record();
      };
      tick();
      ticking = setInterval(tick, 1000);
    }
  } catch (error) {
    showError(`Nothing was recorded (${error.message}).`);
  } finally {
    changing = false;
  }
}

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) classify(file, file.name);
  $("file").value = "";
});
$("record").addEventListener("click", record);
for (const kind of ["dragover", "dragenter"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) classify(file, file.name);
  else showError("That is not a file. Drop an audio file, such as a wav, flac, ogg or mp3.");
});

about = await (await fetch("about")).json();
$("study").textContent = ` · ${about.study}`;
$("headline").textContent = about.headline;
$("bounds").textContent = `wav, flac, ogg, mp3 or au, up to ${about.body_mb} MB and ${clock(about.duration_s)} long`;
$("token-row").hidden = !about.needs_token;
