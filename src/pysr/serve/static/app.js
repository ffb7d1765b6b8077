"use strict";

// The page of the service: choose an image and a model, follow the work, compare before and after, download.

const byId = (id) => document.getElementById(id);
const POLL_MS = 300;
const state = { models: [], limits: {}, file: null, request: null, viewer: null, urls: [] };

// --- choices -----------------------------------------------------------------------------------------------------------

async function loadModels() {
  const response = await fetch("/v1/models");
  if (!response.ok) throw new Error(await reasonOf(response));
  const facts = await response.json();
  state.models = facts.models;
  state.limits = facts.limits;
  byId("model").replaceChildren(...facts.models.map(({ name }) => make("option", { value: name }, name)));
  byId("format").replaceChildren(
    make("option", { value: "" }, "as the image"), ...facts.formats.map((name) => make("option", { value: name }, name)),
  );
  byId("count").max = facts.limits.max_samples;
  showChoices();
}

const model = () => state.models.find(({ name }) => name === byId("model").value);

function showChoices() {
  const { scales, strength_scales, samples, summary, paper } = model();
  const scale = byId("scale"), before = Number(scale.value);
  scale.replaceChildren(...scales.map((each) => make("option", { value: String(each) }, `x${each}`)));
  if (scales.includes(before)) scale.value = String(before);
  byId("strength-label").hidden = !strength_scales.includes(Number(scale.value));
  byId("format-label").hidden = samples;
  byId("count-label").hidden = !samples;
  byId("seed-label").hidden = !samples;
  byId("start").textContent = samples ? "Draw samples" : "Upscale";
  byId("about").textContent = paper ? `${summary}. ${paper}` : summary;
}

function choose(file) {
  if (!file) return;
  state.file = file;
  forget();
  const preview = byId("preview");
  preview.hidden = false;
  preview.onerror = () => { preview.hidden = true; };
  preview.src = urlOf(file);
  const size = file.size < 1e6 ? `${Math.ceil(file.size / 1e3)} kB` : `${(file.size / 1e6).toFixed(1)} MB`;
  byId("chosen").textContent = `${file.name}, ${size}`;
  byId("start").disabled = false;
  say("");
  byId("result").hidden = true;
  if (file.size > state.limits.max_bytes) {
    fail(`The file has ${file.size} bytes, and at most ${state.limits.max_bytes} are accepted; choose a smaller one.`);
    byId("start").disabled = true;
  }
}

// --- work --------------------------------------------------------------------------------------------------------------

async function start(event) {
  event.preventDefault();
  if (!state.file || state.request) return;
  const { samples } = model(), id = randomId();
  const fields = new URLSearchParams({ id, model: byId("model").value, scale: byId("scale").value });
  if (samples) {
    fields.set("count", byId("count").value);
    fields.set("seed", byId("seed").value);
  } else {
    if (byId("format").value) fields.set("format", byId("format").value);
    if (!byId("strength-label").hidden) fields.set("strength", byId("strength").value);
  }
  state.request = new AbortController();
  setWorking(true);
  const timer = setInterval(() => showProgress(id), POLL_MS);
  try {
    const response = await fetch(`/v1/${samples ? "samples" : "upscale"}?${fields}`, {
      method: "POST", body: state.file, signal: state.request.signal, headers: { "Content-Type": "application/octet-stream" },
    });
    if (!response.ok) throw new Error(await reasonOf(response));
    await (samples ? showSamples(response) : showResult(response));
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled.");
    else fail(error.message);
  } finally {
    clearInterval(timer);
    state.request = null;
    setWorking(false);
  }
}

async function showProgress(id) {
  const response = await fetch(`/v1/progress/${id}`);
  const { state: stage, ahead, done, total } = await response.json();
  if (!state.request || stage === "unknown") return;
  const bar = byId("bar");
  if (stage === "working" && total > 0 && done > 0) {
    bar.max = total;
    bar.value = done;
    say(`Working: ${Math.floor((100 * done) / total)} %`);
  } else {
    bar.removeAttribute("value");
    say(stage === "waiting" ? `Waiting; ${ahead} before this one` : "Working ...");
  }
}

function setWorking(on) {
  byId("progress").hidden = !on;
  byId("cancel").hidden = !on;
  byId("start").disabled = on;
  byId("bar").removeAttribute("value");
  if (on) {
    byId("result").hidden = true;
    say("Sending ...");
  }
}

async function reasonOf(response) {
  const problem = await response.json().catch(() => ({}));
  const retry = response.headers.get("Retry-After");
  const reason = problem.detail?.replace("'image'", `'${state.file?.name}'`) ?? `The service answered ${response.status} ${response.statusText}.`;
  return retry ? `${reason} (in about ${retry} s)` : reason;
}

// --- results -----------------------------------------------------------------------------------------------------------

async function showResult(response) {
  const blob = await response.blob(), facts = (name) => response.headers.get(`Pysr-${name}`);
  const [width, height] = facts("Size").split("x").map(Number), scale = Number(facts("Scale"));
  const ending = blob.type.split("/")[1].replace("jpeg", "jpg").replace("tiff", "tif");
  const download = byId("download");
  download.href = urlOf(blob);
  download.download = `${state.file.name.replace(/\.[^.]*$/, "")}_x${scale}.${ending}`;
  byId("facts").textContent = `${facts("Model")}, ${width} x ${height} pixels, ${Number(facts("Seconds")).toFixed(1)} s`;
  showWarnings(JSON.parse(facts("Warnings")));
  reveal();
  const root = make("div", { class: "viewer" });
  byId("view").replaceChildren(root);
  try {
    const before = await figure(urlOf(state.file), "before", scale, width, height);
    const after = await figure(download.href, `after: ${facts("Model")} x${scale}`, 1, width, height);
    root.append(before, after);
    state.viewer = new Viewer(root);
  } catch {
    root.replaceChildren(make("p", { class: "note" }, "The browser cannot show images of this format; download the result."));
  }
  say("Done.");
}

async function figure(url, caption, factor, width, height) {
  const image = make("img", { src: url, alt: caption, "data-factor": String(factor) });
  image.setAttribute("width", width);
  image.setAttribute("height", height);
  await image.decode();
  return make("figure", {}, image, make("figcaption", {}, caption));
}

async function showSamples(response) {
  const facts = await response.json(), gallery = make("div", { class: "gallery" });
  const download = byId("download");
  const spread = `where the samples differ: white is a deviation of ${facts.largest.toFixed(3)}`;
  gallery.append(
    tile(urlOf(state.file), "the image that was sent"),
    ...facts.samples.map((url, index) => tile(url, `sample ${index + 1}`, `sample_${index + 1}.png`)),
    tile(facts.uncertainty, spread, "uncertainty.png"),
  );
  download.href = facts.samples[0];
  download.download = "sample_1.png";
  byId("facts").textContent = `${facts.model}, ${facts.width} x ${facts.height} pixels, seed ${facts.seed}`;
  showWarnings(JSON.parse(response.headers.get("Pysr-Warnings")));
  byId("view").replaceChildren(gallery);
  reveal();
  say("Done.");
}

function tile(url, caption, name) {
  const text = name ? make("a", { href: url, download: name }, caption) : caption;
  return make("figure", {}, make("img", { src: url, alt: caption }), make("figcaption", {}, text));
}

function showWarnings(warnings) {
  byId("warnings").hidden = !warnings.length;
  byId("warnings").replaceChildren(...warnings.map((warning) => make("li", {}, warning)));
}

// --- small things ------------------------------------------------------------------------------------------------------

function reveal() {
  byId("error").hidden = true;
  byId("result").hidden = false;
}

function say(text) {
  byId("status").textContent = text;
  byId("error").hidden = true;
}

function fail(reason) {
  say("");
  byId("error").textContent = reason.charAt(0).toUpperCase() + reason.slice(1);
  byId("error").hidden = false;
}

function urlOf(blob) {
  const url = URL.createObjectURL(blob);
  state.urls.push(url);
  return url;
}

function forget() {
  state.viewer?.close();
  state.viewer = null;
  state.urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const drop = byId("drop");
for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", type === "dragenter" || type === "dragover");
    if (type === "drop" && event.dataTransfer.files.length) {
      byId("file").files = event.dataTransfer.files; // so that the field shows its name
      choose(event.dataTransfer.files[0]);
    }
  });
}
document.addEventListener("paste", (event) => choose(event.clipboardData.files[0]));
byId("file").addEventListener("change", () => choose(byId("file").files[0]));
byId("model").addEventListener("change", showChoices);
byId("scale").addEventListener("change", showChoices);
byId("strength").addEventListener("input", () => { byId("strength-text").textContent = byId("strength").value; });
byId("form").addEventListener("submit", start);
byId("cancel").addEventListener("click", () => state.request?.abort());
loadModels().catch((error) => fail(error.message));
