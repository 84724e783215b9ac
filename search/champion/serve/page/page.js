// Takes a recording, asks the server, and lets draw.js show the answer.

import { clock, draw } from "./draw.js";
import { startRecording, toWav } from "./record.js";

const $ = (id) => document.getElementById(id);
const ASKED = "timeline=true&segment_s=3&peaks=400&top=3";
let about = { coverage: 0.9 };
let latest = 0;
let stop = null;
let changing = false;
let ticking = 0;

function tell(text) { $("state").textContent = text; }

function complain(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

async function ask(blob) {
  const headers = { "Content-Type": "application/octet-stream" };
  if ($("token").value) headers.Authorization = `Bearer ${$("token").value}`;
  const answer = await fetch(`predict?${ASKED}`, { method: "POST", body: blob, headers });
  const said = await answer.json().catch(() => ({ error: answer.status, detail: answer.statusText }));
  return { status: answer.status, said };
}

async function listen(blob, name) {
  latest += 1;
  const mine = latest;
  complain("");
  tell(`Listening to ${name} …`);
  document.body.setAttribute("aria-busy", "true");
  try {
    let { status, said } = await ask(blob);
    if (status === 415) { // the browser may know a format that the server does not
      const converted = await toWav(blob).catch(() => null);
      if (converted) ({ status, said } = await ask(converted));
    }
    if (mine !== latest) return;
    if (status === 401) { $("secret").hidden = false; $("token").focus(); }
    if (status !== 200) { complain(`${name}: ${said.error} (${said.detail})`); tell(""); return; }
    if ($("player").src) URL.revokeObjectURL($("player").src);
    $("player").src = URL.createObjectURL(blob);
    draw(said, name, about.coverage);
    tell(`${name} is ${said.label}.`);
    $("result").focus({ preventScroll: true });
    $("result").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (mine !== latest) return;
    tell("");
    complain(`The server did not answer (${error.message}). Is it still running, and is the file not too large?`);
  } finally {
    if (mine === latest) document.body.removeAttribute("aria-busy");
  }
}

async function record() {
  const button = $("record");
  if (changing) return; // a button that is disabled would lose the focus, and the next key with it
  changing = true;
  try {
    if (stop) {
      clearInterval(ticking);
      const end = stop;
      stop = null;
      button.textContent = "Record";
      button.setAttribute("aria-pressed", "false");
      await listen(await end(), "Your recording");
    } else {
      complain("");
      stop = await startRecording();
      button.textContent = "Stop";
      button.setAttribute("aria-pressed", "true");
      const began = performance.now();
      const tick = () => {
        const seconds = (performance.now() - began) / 1000;
        tell(`Recording: ${clock(seconds)}`);
        if (seconds >= (about.duration_s || 600) - 1) record();
      };
      tick();
      ticking = setInterval(tick, 1000);
    }
  } catch (error) {
    complain(`Nothing was recorded (${error.message}).`);
  } finally {
    changing = false;
  }
}

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) listen(file, file.name);
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
  if (file) listen(file, file.name);
  else complain("That was no file. Drop an audio file, such as a wav, flac, ogg or mp3.");
});

about = await (await fetch("about")).json();
$("study").textContent = ` · ${about.study}`;
$("headline").textContent = about.headline;
$("bounds").textContent = `wav, flac, ogg, mp3 or au, up to ${about.body_mb} MB and ${clock(about.duration_s)} long`;
$("secret").hidden = !about.needs_token;
