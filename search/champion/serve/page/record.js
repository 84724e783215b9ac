// Converts to WAV: microphone recordings, and files that only the browser can decode.

const MAX_RATE = 48000;

// 16 bits, mono: every decoder reads it.
export function wav(channels, rate) {
  const n = channels[0].length;
  const view = new DataView(new ArrayBuffer(44 + 2 * n));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * n, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * n, true);
  for (let i = 0; i < n; i += 1) {
    let sample = 0;
    for (const channel of channels) sample += channel[i] / channels.length;
    view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true);
  }
  return new Blob([view], { type: "audio/wav" });
}

export async function toWav(blob) {
  const context = new OfflineAudioContext(1, 1, MAX_RATE);
  const audio = await context.decodeAudioData(await blob.arrayBuffer());
  const channels = Array.from({ length: audio.numberOfChannels }, (_, i) => audio.getChannelData(i));
  return wav(channels, audio.sampleRate);
}

// Starts recording; returns a function that stops it and resolves to the WAV file.
export async function startRecording() {
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    throw new Error("this browser records on https pages and on this machine's own address only");
  }
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  const ended = new Promise((resolve) => { recorder.addEventListener("stop", resolve, { once: true }); });
  recorder.start();
  return async () => {
    recorder.stop();
    await ended;
    for (const track of stream.getTracks()) track.stop();
    return toWav(new Blob(parts, { type: recorder.mimeType }));
  };
}
