"use strict";

// A viewer of images of one scene, built from the figures in its element. Zoom: CSS pixels per pixel of the largest.

const MODES = { slider: "Slider", flicker: "Flicker", sides: "Side by side", difference: "Difference" };
const FLICKER_MS = 700; // slower than the three flashes a second that can harm
const DIFFERENCE_PIXELS = 16e6; // larger differences are computed at half the size or less
const LENS = { side: 160, magnified: 8 }; // CSS pixels; at least as many CSS pixels for each pixel
const MOST_ZOOM = 32, STEP = 1.25, PAN = 60;
let viewers = 0;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

class Viewer {
  constructor(root) {
    this.id = `viewer-${++viewers}`;
    this.panes = [...root.querySelectorAll("figure")].map((figure) => this.makePane(figure));
    this.width = Math.max(...this.panes.map((pane) => pane.size.width));
    this.height = Math.max(...this.panes.map((pane) => pane.size.height));
    this.mode = "slider";
    this.left = 0;
    this.right = this.panes.length - 1;
    this.split = 0.5;
    this.zoom = null; // null: as large as fits
    this.centre = { x: this.width / 2, y: this.height / 2 };
    this.pointers = new Map();
    this.buildStage();
    this.buildControls();
    root.replaceChildren(this.stage, this.controls, this.note, this.help);
    this.listen();
    this.setMode(this.mode);
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  close() { clearInterval(this.timer); }

  // --- elements ----------------------------------------------------------------------------------------------------

  makePane(figure) {
    const image = figure.querySelector("img"), caption = figure.querySelector("figcaption").textContent;
    const factor = Number(image.dataset.factor || 1);
    const size = { width: Number(image.getAttribute("width")), height: Number(image.getAttribute("height")) };
    image.classList.toggle("enlarged", factor > 1);
    image.style.width = `${size.width}px`;
    image.style.height = `${size.height}px`;
    const tag = make("span", { class: "tag", "aria-hidden": "true" }, caption);
    return { element: make("div", { class: "pane" }, image, tag), image, tag, caption, factor, size };
  }

  buildStage() {
    this.divider = make("div", {
      class: "divider", role: "slider", tabindex: "0", "aria-label": "Divider between the two images",
      "aria-orientation": "horizontal", "aria-valuemin": "0", "aria-valuemax": "100",
    });
    this.canvas = make("canvas", { role: "img", "aria-label": "Difference of the two images" });
    this.differencePane = make("div", { class: "pane" }, this.canvas);
    this.lens = make("canvas", { class: "lens", "aria-hidden": "true", hidden: true });
    this.stage = make(
      "div",
      { class: "stage", role: "group", tabindex: "0", "aria-label": "Images", "aria-describedby": `${this.id}-help` },
      ...this.panes.map((pane) => pane.element), this.differencePane, this.divider, this.lens,
    );
    this.note = make("p", { class: "note", role: "status" });
    this.help = make(
      "p", { class: "help keys", id: `${this.id}-help` },
      "Keys, with the images in focus: arrows move, + and - zoom, 0 fits, 1 shows actual pixels, space swaps, m magnifies.",
    );
  }

  buildControls() {
    const radios = Object.entries(MODES).map(([mode, name]) => {
      const input = make("input", { type: "radio", name: `${this.id}-mode`, value: mode, checked: mode === this.mode });
      input.addEventListener("change", () => this.setMode(mode));
      return make("label", { class: "choice" }, input, make("span", {}, name));
    });
    const modes = make("fieldset", {}, make("legend", { class: "visually-hidden" }, "View"), ...radios);
    this.leftSelect = this.makeSelect(this.left, (index) => { this.left = index; });
    this.rightSelect = this.makeSelect(this.right, (index) => { this.right = index; });
    this.pair = make(
      "fieldset", {}, make("legend", { class: "visually-hidden" }, "Images compared"),
      make("label", {}, "Left", this.leftSelect), make("label", {}, "Right", this.rightSelect),
    );
    this.zoomText = make("output", { "aria-label": "Zoom" });
    const zoom = make(
      "fieldset", { class: "zoom" }, make("legend", { class: "visually-hidden" }, "Zoom"),
      this.makeButton("−", "Zoom out", () => this.zoomBy(1 / STEP)), this.zoomText,
      this.makeButton("+", "Zoom in", () => this.zoomBy(STEP)),
      this.makeButton("Fit", "Fit the whole image", () => this.setZoom(null)),
      this.makeButton("1:1", "1:1, actual pixels", () => this.setZoom(1 / devicePixelRatio)),
    );
    this.magnifier = make("input", { type: "checkbox" });
    this.magnifier.addEventListener("change", () => this.draw());
    this.gain = make("select", {}, ...[1, 4, 16].map((gain) => make("option", { value: String(gain) }, `${gain} times`)));
    this.gain.value = "4";
    this.gain.addEventListener("change", () => this.showDifference());
    this.gainLabel = make("label", {}, "Amplified", this.gain);
    this.pause = this.makeButton("Pause", null, () => this.setFlickering(!this.timer));
    this.controls = make(
      "div", { class: "controls" }, modes, this.pair, zoom, make("label", {}, this.magnifier, "Magnifier"),
      this.gainLabel, this.pause,
    );
  }

  makeButton(text, label, action) {
    const button = make("button", { type: "button", ...(label && { "aria-label": label, title: label }) }, text);
    button.addEventListener("click", action);
    return button;
  }

  makeSelect(chosen, choose) {
    const options = this.panes.map((pane, index) => make("option", { value: String(index) }, pane.caption));
    const select = make("select", {}, ...options);
    select.value = String(chosen);
    select.addEventListener("change", () => { choose(Number(select.value)); this.setMode(this.mode); });
    return select;
  }

  // --- what is shown -----------------------------------------------------------------------------------------------

  setMode(mode) {
    this.mode = mode;
    this.stage.classList.toggle("sides", mode === "sides");
    this.divider.hidden = mode !== "slider";
    this.differencePane.hidden = mode !== "difference";
    this.gainLabel.hidden = mode !== "difference";
    this.pause.hidden = mode !== "flicker";
    this.pair.hidden = mode === "sides" && this.panes.length > 2;
    this.swapped = false;
    this.note.textContent = "";
    this.setFlickering(mode === "flicker" && !matchMedia("(prefers-reduced-motion: reduce)").matches);
    if (mode === "difference") this.showDifference();
    this.draw();
  }

  setFlickering(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => { this.swapped = !this.swapped; this.draw(); }, FLICKER_MS) : null;
    this.pause.textContent = on ? "Pause" : "Play";
  }

  swap() {
    if (this.mode === "flicker") {
      this.setFlickering(false);
      this.swapped = !this.swapped;
      this.note.textContent = `Shown: ${this.panes[this.swapped ? this.right : this.left].caption}`;
    } else {
      [this.left, this.right] = [this.right, this.left];
      this.leftSelect.value = String(this.left);
      this.rightSelect.value = String(this.right);
    }
    this.draw();
  }

  shown() {
    if (this.mode === "sides") return this.panes.length > 2 ? this.panes.map((_, index) => index) : [this.left, this.right];
    if (this.mode === "flicker") return [this.swapped ? this.right : this.left];
    return this.mode === "slider" ? [this.left, this.right] : [];
  }

  // The size of one pane in CSS pixels. Side by side, panes lie in the rows and columns that make them largest.
  layOut() {
    const count = this.mode === "sides" ? this.shown().length : 1, width = this.stage.clientWidth;
    const aspect = this.height / this.width, most = Math.max(innerHeight * 0.72, 240);
    const columns = [1, 2, 3, 4].filter((n) => n <= count).reduce((best, n) => {
      const side = (n) => Math.min(width / n, most / Math.ceil(count / n) / aspect);
      return side(n) > side(best) ? n : best;
    }, 1);
    const rows = Math.ceil(count / columns);
    const height = Math.min(most, (width / columns) * aspect * rows);
    this.stage.style.height = `${Math.round(height)}px`;
    this.stage.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    return { width: width / columns, height: height / rows };
  }

  draw() {
    const pane = (this.pane = this.layOut());
    this.fitted = Math.min(pane.width / this.width, pane.height / this.height);
    const zoom = Math.max(this.zoom ?? this.fitted, this.fitted);
    this.scale = zoom;
    for (const [axis, side, seen] of [["x", this.width, pane.width / zoom], ["y", this.height, pane.height / zoom]]) {
      this.centre[axis] = seen >= side ? side / 2 : clamp(this.centre[axis], seen / 2, side - seen / 2);
    }
    this.origin = { x: pane.width / 2 - this.centre.x * zoom, y: pane.height / 2 - this.centre.y * zoom };
    const transform = `translate(${this.origin.x}px, ${this.origin.y}px) scale(${zoom})`;
    const shown = this.shown();
    this.panes.forEach((each, index) => {
      const isRight = this.mode === "slider" && index === this.right;
      each.element.hidden = !shown.includes(index);
      each.element.style.zIndex = isRight ? 1 : 0;
      each.element.style.clipPath = isRight ? `inset(0 0 0 ${this.split * 100}%)` : "";
      each.element.classList.toggle("sharp", zoom * devicePixelRatio >= 2);
      each.tag.classList.toggle("right", isRight);
      each.image.style.transform = transform;
    });
    this.differencePane.classList.toggle("sharp", zoom * devicePixelRatio >= 2);
    this.canvas.style.transform = `${transform} scale(${this.width / this.canvas.width})`;
    this.drawDivider();
    this.stage.style.touchAction = this.isZoomed() || this.magnifier.checked ? "none" : "pan-y";
    this.zoomText.textContent = `${Math.round(zoom * devicePixelRatio * 100)} %`;
    this.drawLens();
  }

  isZoomed() { return this.scale > this.fitted * 1.001; }

  drawDivider() {
    const percent = Math.round(this.split * 100);
    this.divider.style.left = `${this.split * 100}%`;
    this.divider.setAttribute("aria-valuenow", String(percent));
    this.divider.setAttribute("aria-valuetext", `${percent} % ${this.panes[this.left].caption}`);
  }

  drawLens() {
    const pair = this.mode === "flicker" ? this.shown() : [this.left, this.right];
    this.lens.hidden = !this.magnifier.checked;
    if (this.lens.hidden) return;
    const at = this.pointer ?? { x: this.pane.width / 2, y: this.pane.height / 2 };
    const { x: left, y: top } = this.inPane(at);
    const spot = { x: (left - this.origin.x) / this.scale, y: (top - this.origin.y) / this.scale };
    const side = Math.min(LENS.side, this.stage.clientWidth / 2 - 8), ratio = devicePixelRatio;
    const seen = side / Math.max(LENS.magnified, this.scale * 4); // pixels of the largest image
    this.lens.width = side * pair.length * ratio;
    this.lens.height = side * ratio;
    this.lens.style.width = `${side * pair.length}px`;
    this.lens.style.height = `${side}px`;
    const pen = this.lens.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pair.forEach((index, place) => {
      const { image, factor } = this.panes[index];
      const begin = place * side * ratio, part = seen / factor;
      pen.drawImage(
        image, spot.x / factor - part / 2, spot.y / factor - part / 2, part, part, begin, 0, side * ratio, side * ratio,
      );
      pen.fillStyle = "#fff";
      if (place) pen.fillRect(begin - ratio, 0, 2 * ratio, this.lens.height);
    });
    const x = clamp(at.x - (side * pair.length) / 2, 0, this.stage.clientWidth - side * pair.length - 4);
    const below = at.y + 24 + side < this.stage.clientHeight ? at.y + 24 : at.y - 24 - side;
    this.lens.style.left = `${x}px`;
    this.lens.style.top = `${clamp(below, 0, Math.max(0, this.stage.clientHeight - side - 4))}px`;
  }

  async showDifference() {
    const [one, other] = [this.panes[this.left], this.panes[this.right]];
    await Promise.all([one.image.decode(), other.image.decode()]);
    const shrunk = Math.min(1, Math.sqrt(DIFFERENCE_PIXELS / (this.width * this.height)));
    const size = [Math.round(this.width * shrunk), Math.round(this.height * shrunk)];
    const [a, b] = [this.pixelsOf(one, size), this.pixelsOf(other, size)];
    const gain = Number(this.gain.value);
    let total = 0, largest = 0;
    for (let i = 0; i < a.data.length; i += 4) {
      for (let c = i; c < i + 3; c++) {
        const d = Math.abs(a.data[c] - b.data[c]);
        total += d;
        largest = Math.max(largest, d);
        a.data[c] = d * gain;
      }
      a.data[i + 3] = 255;
    }
    [this.canvas.width, this.canvas.height] = size;
    this.canvas.getContext("2d").putImageData(a, 0, 0);
    const mean = (total / (a.data.length * 0.75)).toFixed(2);
    this.note.textContent = `Difference of ${one.caption} and ${other.caption}: mean ${mean}, largest ${largest} of 255`;
    this.draw();
  }

  pixelsOf({ image, factor, size }, [width, height]) {
    const canvas = make("canvas", { width, height }), pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingEnabled = factor === 1;
    pen.drawImage(image, 0, 0, (size.width * width) / this.width, (size.height * height) / this.height);
    return pen.getImageData(0, 0, width, height);
  }

  // --- zoom, pan and divider ---------------------------------------------------------------------------------------

  setZoom(zoom, at) {
    const before = this.scale, where = at ?? { x: this.pane.width / 2, y: this.pane.height / 2 };
    const spot = { x: (where.x - this.origin.x) / before, y: (where.y - this.origin.y) / before };
    this.zoom = zoom === null || zoom <= this.fitted ? null : Math.min(zoom, MOST_ZOOM);
    const after = this.zoom ?? this.fitted;
    this.centre = {
      x: spot.x + (this.pane.width / 2 - where.x) / after, y: spot.y + (this.pane.height / 2 - where.y) / after,
    };
    this.draw();
  }

  zoomBy(ratio, at) { this.setZoom(this.scale * ratio, at); }

  panBy(x, y) {
    this.centre.x += x / this.scale;
    this.centre.y += y / this.scale;
    this.draw();
  }

  setSplit(split) {
    this.split = clamp(split, 0, 1);
    this.draw();
  }

  // --- input -------------------------------------------------------------------------------------------------------

  listen() {
    const stage = this.stage;
    stage.addEventListener("pointerdown", (event) => this.onDown(event));
    stage.addEventListener("pointermove", (event) => this.onMove(event));
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, (event) => { this.pointers.delete(event.pointerId); this.dragged = null; });
    }
    stage.addEventListener("dblclick", (event) => {
      this.setZoom(this.isZoomed() ? null : Math.max(1 / devicePixelRatio, 2 * this.fitted), this.placeOf(event));
    });
    stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    stage.addEventListener("keydown", (event) => this.onKey(event));
  }

  onStage(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  inPane({ x, y }) {
    return this.mode === "sides" ? { x: x % this.pane.width, y: y % this.pane.height } : { x, y };
  }

  placeOf(event) { return this.inPane(this.onStage(event)); }

  onDown(event) {
    if (event.button > 0) return;
    this.pointers.set(event.pointerId, this.placeOf(event));
    this.stage.setPointerCapture(event.pointerId);
    const slides = this.mode === "slider" && (event.target === this.divider || !this.isZoomed());
    this.dragged = slides && !this.magnifier.checked ? "divider" : "images";
    this.pointer = this.onStage(event);
    if (this.dragged === "divider") this.setSplit(this.pointer.x / this.stage.clientWidth);
    else this.drawLens();
  }

  onMove(event) {
    const now = this.placeOf(event), before = this.pointers.get(event.pointerId);
    this.pointer = this.onStage(event);
    if (!before || (this.magnifier.checked && event.pointerType !== "mouse")) {
      this.drawLens();
      return;
    }
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const distance = (place) => Math.hypot(place.x - other.x, place.y - other.y);
      this.zoomBy(distance(now) / Math.max(distance(before), 1), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else if (this.dragged === "divider") {
      this.setSplit(now.x / this.stage.clientWidth);
    } else {
      this.panBy(before.x - now.x, before.y - now.y);
    }
    this.pointers.set(event.pointerId, now);
  }

  onWheel(event) {
    if (!event.ctrlKey && !this.stage.contains(document.activeElement)) return; // the page scrolls
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), this.placeOf(event));
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === this.divider && this.onDividerKey(event.key)) {
      event.preventDefault();
      return;
    }
    const actions = {
      "+": () => this.zoomBy(STEP), "=": () => this.zoomBy(STEP), "-": () => this.zoomBy(1 / STEP),
      "0": () => this.setZoom(null), "1": () => this.setZoom(1 / devicePixelRatio), " ": () => this.swap(),
      m: () => { this.magnifier.checked = !this.magnifier.checked; this.draw(); },
      ArrowLeft: () => this.panBy(-PAN, 0), ArrowRight: () => this.panBy(PAN, 0),
      ArrowUp: () => this.panBy(0, -PAN), ArrowDown: () => this.panBy(0, PAN),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  onDividerKey(key) {
    const moves = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1 };
    if (key in moves) this.setSplit(this.split + moves[key]);
    else if (key === "Home" || key === "End") this.setSplit(key === "Home" ? 0 : 1);
    else return false;
    return true;
  }
}

for (const root of document.querySelectorAll(".viewer")) new Viewer(root);
