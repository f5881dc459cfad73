// The painter in the browser: one person paints where the picture made them answer as they did.
//
// Strokes are the data. Every finished stroke, answer and so on is an operation with a number; it is kept in this browser
// until the kernel says that it is on disk. What is seen here is a preview by the rule of raster.py, equal to it within 1/255.
//
//   1 strokes to maps · 2 colours · 3 operations to strokes · 4 unsent operations · 5 session (one per widget)
//   6 view (one per place on the page): screens, picture, pointer, keys · 7 what anywidget calls

// ---- 1. Strokes to maps: raster.py states the rule --------------------------------------------------------------------

const SPACING = 0.25; // distance of dabs, in radii
const TOLERANCE = 1e-9; // lets a dab on the last point be laid whatever the rounding of sums

/** A map of paint, 0 to 1, row by row. */
export const emptyMap = (width, height) => ({ width, height, data: new Float32Array(width * height) });

/** Lays the dabs of one stroke while its points come in, and knows which part of the map has changed. */
export class Trail {
  constructor(stroke, map, picture) {
    const short = Math.min(picture.width, picture.height);
    Object.assign(this, { stroke, map, next: 1, travelled: 0, last: null, dirty: null });
    this.scale = { u: picture.width / short, v: picture.height / short };
    this.pixel = { u: picture.width / (map.width * short), v: picture.height / (map.height * short) };
  }

  add([, x, y, pressure = 1]) {
    const point = { u: x * this.scale.u, v: y * this.scale.v, pressure };
    const from = this.last;
    this.last = point;
    if (!from) return this.dab(point.u, point.v, point.pressure);
    const [du, dv, dp] = [point.u - from.u, point.v - from.v, point.pressure - from.pressure];
    const length = Math.hypot(du, dv);
    if (!(length > 0)) return;
    const step = SPACING * this.stroke.radius;
    while (this.next * step <= this.travelled + length + TOLERANCE) {
      const share = Math.min(1, (this.next * step - this.travelled) / length);
      this.dab(from.u + du * share, from.v + dv * share, from.pressure + dp * share);
      this.next += 1;
    }
    this.travelled += length;
  }

  dab(cu, cv, pressure) {
    const { radius, strength, tool } = this.stroke, { u: pu, v: pv } = this.pixel;
    const { width, height, data } = this.map;
    const first = (centre, pixel, reach) => Math.max(0, Math.ceil((centre - reach) / pixel - 0.5));
    const last = (centre, pixel, reach, count) => Math.min(count - 1, Math.floor((centre + reach) / pixel - 0.5));
    const x0 = first(cu, pu, radius), x1 = last(cu, pu, radius, width), y0 = first(cv, pv, radius), y1 = last(cv, pv, radius, height);
    if (x0 > x1 || y0 > y1) return;
    const paint = strength * pressure, scale = 1 / (radius * radius), goal = tool === "brush" ? 1 : 0;
    for (let y = y0; y <= y1; y++) {
      const dv = (y + 0.5) * pv - cv, left = 1 - dv * dv * scale;
      if (left <= 0) continue;
      const half = radius * Math.sqrt(left); // of the row's part inside the dab: most pixels need no test
      const from = first(cu, pu, half), to = last(cu, pu, half, width);
      let du = (from + 0.5) * pu - cu;
      for (let at = y * width + from, end = y * width + to; at <= end; at++) {
        const rest = left - du * du * scale, old = data[at];
        data[at] = old + paint * rest * rest * (goal - old);
        du += pu;
      }
    }
    this.soil(x0, y0, x1 + 1, y1 + 1);
  }

  soil(x0, y0, x1, y1) {
    const d = this.dirty;
    this.dirty = d ? [Math.min(d[0], x0), Math.min(d[1], y0), Math.max(d[2], x1), Math.max(d[3], y1)] : [x0, y0, x1, y1];
  }
}

export function paintStroke(stroke, map, picture) {
  const trail = new Trail(stroke, map, picture);
  for (const point of stroke.points) trail.add(point);
}

const KEEP_EVERY = 24; // strokes

/** The map of one frame, brought up to date by painting as few strokes as can be. */
class Layer {
  constructor(size, picture) {
    this.picture = picture;
    this.map = emptyMap(size.width, size.height);
    this.strokes = [];
    this.kept = { strokes: [], data: null }; // an earlier state, so that undo need not start from nothing
  }

  show(strokes) {
    const begins = (with_) => with_.length <= strokes.length && with_.every((stroke, i) => stroke === strokes[i]);
    if (!begins(this.strokes)) {
      const useful = this.kept.data && begins(this.kept.strokes);
      if (useful) this.map.data.set(this.kept.data);
      else this.map.data.fill(0);
      this.strokes = useful ? this.kept.strokes : [];
    }
    for (let i = this.strokes.length; i < strokes.length; i++) {
      if (i && i === strokes.length - KEEP_EVERY / 2) this.keep(strokes.slice(0, i));
      paintStroke(strokes[i], this.map, this.picture);
    }
    this.strokes = strokes;
  }

  /** Before a stroke is painted by hand. */
  prepare() {
    if (this.strokes.length - this.kept.strokes.length >= KEEP_EVERY) this.keep(this.strokes);
  }

  keep(strokes) {
    this.kept = { strokes, data: this.map.data.slice() };
  }

  /** A stroke was painted by hand, or given up half-way. */
  settle(strokes) {
    this.strokes = strokes;
  }

  spoil() {
    this.strokes = [null];
  }
}

// ---- 2. Colours: the upper part of matplotlib's inferno, clear where there is no paint ----------------------------------

const INFERNO = [
  [66, 10, 104], [106, 23, 110], [147, 38, 103], [188, 55, 84], [221, 81, 58], [243, 120, 25], [252, 165, 10], [246, 215, 70], [252, 255, 164],
];
const LEVELS = 1023;

export const HEAT = Uint32Array.from({ length: LEVELS + 1 }, (_, level) => {
  const value = level / LEVELS, place = value * (INFERNO.length - 1), low = Math.min(INFERNO.length - 2, Math.floor(place));
  const [red, green, blue] = INFERNO[low].map((colour, i) => Math.round(colour + (INFERNO[low + 1][i] - colour) * (place - low)));
  const alpha = Math.round(255 * (1 - Math.exp(-5 * value))); // thin paint shows, and thick paint covers
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
});

export const heatOf = (value) => HEAT[(value * LEVELS + 0.5) | 0];

/** Colour the rectangle [x0, y0, x1, y1) of a map into pixels of the same size. */
export function recolour(map, pixels, [x0, y0, x1, y1]) {
  for (let y = y0; y < y1; y++) {
    for (let at = y * map.width + x0, end = y * map.width + x1; at < end; at++) pixels[at] = HEAT[(map.data[at] * LEVELS + 0.5) | 0];
  }
}

/** Draw the outlines of a map's paint at two levels, for the onion skin. */
function outline(map, pixels, colour) {
  for (const level of [0.08, 0.45]) {
    for (let y = 1; y < map.height - 1; y++) {
      for (let x = 1, at = y * map.width + 1; x < map.width - 1; x++, at++) {
        if (map.data[at] < level) continue;
        const { data, width } = map;
        if (data[at - 1] < level || data[at + 1] < level || data[at - width] < level || data[at + width] < level) pixels[at] = colour;
      }
    }
  }
}

// ---- 3. Operations to strokes: strokes.py states the rule ---------------------------------------------------------------

const EDITS = ["stroke", "clear", "copy"];

/** What the operations of one painting add up to; the lists of strokes are never changed, only replaced. */
export class Painting {
  constructor(frames) {
    this.lists = Array.from({ length: frames }, () => []);
    Object.assign(this, { done: [], undone: [], answers: {}, state: "todo", reason: "", seconds: 0, last: 0 });
  }

  /** Returns the frame that has changed, or -1. */
  apply(op) {
    this.last = op.n;
    this.seconds = Math.max(this.seconds, op.seconds ?? 0);
    this.state = { submit: "done", skip: "skipped" }[op.op] ?? "begun";
    this.reason = op.op === "skip" ? op.reason : "";
    if (op.op === "answer") this.answers = { ...this.answers, [op.question]: op.value };
    if (op.op === "undo") return this.move(this.done, this.undone, "before");
    if (op.op === "redo") return this.move(this.undone, this.done, "after");
    if (!EDITS.includes(op.op)) return -1;
    const before = this.lists[op.frame];
    const after = op.op === "stroke" ? [...before, op] : op.op === "copy" ? this.lists[op.source] : [];
    this.done.push({ frame: op.frame, before, after });
    this.undone = [];
    this.lists[op.frame] = after;
    return op.frame;
  }

  move(from, to, side) {
    const edit = from.pop();
    if (!edit) return -1;
    to.push(edit);
    this.lists[edit.frame] = edit[side];
    return edit.frame;
  }

  isPainted(frame) {
    return this.lists[frame].some((stroke) => stroke.tool === "brush");
  }
}

// ---- 4. Unsent operations, kept in this browser --------------------------------------------------------------------------

const sorted = (value) => Array.isArray(value) ? value.map(sorted) : value && typeof value === "object"
  ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])])) : value;
const isSame = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

/** localStorage where the browser gives it; the widget works without, but a closed page then loses what is not sent. */
const browserStore = {
  read(key) {
    try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
  },
  write(key, value) {
    try { localStorage.setItem(key, JSON.stringify(value)); return true; } catch { return false; }
  },
  remove(key) {
    try { localStorage.removeItem(key); } catch { /* nothing was kept */ }
  },
};

/** Join what the kernel has with what it may not have: numbers go on without gaps, and nothing is sent twice. */
export function mergeUnsent(stored, unsent) {
  const last = stored.length ? stored.at(-1).n : 0, byNumber = new Map(stored.map((op) => [op.n, op])), rest = [];
  let foreign = false; // another window has painted meanwhile: its history is not ours to undo
  for (const op of [...unsent].sort((a, b) => a.n - b.n)) {
    if (!foreign && byNumber.has(op.n) && isSame(byNumber.get(op.n), op)) continue;
    foreign ||= op.n !== last + rest.length + 1;
    if (foreign && ["undo", "redo", "submit", "skip"].includes(op.op)) continue;
    rest.push({ ...op, n: last + rest.length + 1 });
  }
  return rest;
}

// ---- 5. Session: one per widget; all its views show the same ---------------------------------------------------------------

const RESEND_MS = 3000, LATE_MS = 6000, IDLE_MS = 30000, TICK_MS = 250, RESEND_AT_ONCE = 40;
const SIZES = [0.004, 0.5], STRENGTHS = [0.02, 1]; // radius as share of the short side; paint of one dab
const DEFAULT_TOOLS = {
  tool: "brush", brush: { radius: 0.06, strength: 0.2 }, eraser: { radius: 0.06, strength: 0.5 },
  opacity: 0.75, overlay: true, onion: false, loop: true,
};
const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
const round = (value, digits) => Math.round(value * 10 ** digits) / 10 ** digits;
const title = (row) => [row.session, row.task, row.variable].filter(Boolean).join(" · ");

class Session {
  constructor(model) {
    this.model = model;
    this.client = Math.random().toString(36).slice(2, 12);
    this.views = new Set();
    this.waiting = new Map(); // snippets left with operations on their way
    this.tools = DEFAULT_TOOLS;
    Object.assign(this, { known: null, painter: null, queue: [], doc: null, wanted: null, frame: 0, playing: null });
    Object.assign(this, { stroke: null, error: "", notice: "", finished: false, lastInput: performance.now(), request: null });
    this.onMessage = (message, buffers) => this.hear(message, buffers);
    this.onStorage = (event) => this.doc && event.key === this.doc.key && this.lookForOthers();
    model.on("msg:custom", this.onMessage);
    window.addEventListener("storage", this.onStorage);
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.ask({ type: "hello" });
  }

  stop() {
    clearInterval(this.timer);
    window.removeEventListener("storage", this.onStorage);
    this.model.off("msg:custom", this.onMessage);
    this.pause();
  }

  tell(method, ...values) {
    for (const view of this.views) view[method](...values);
  }

  // -- messages --

  say(message) {
    try {
      this.model.send({ ...message, client: this.client });
    } catch (error) {
      console.warn("painter: the kernel cannot be reached", error); // it shows as "not saved", and is sent again
    }
  }

  /** A question whose answer is waited for: asked again, ever more rarely, as long as there is none. */
  ask(message) {
    this.request = { message, at: performance.now(), pause: 2 * RESEND_MS, since: performance.now() };
    this.say(message);
    this.tell("update");
  }

  hear(message, buffers) {
    const mine = message.client === this.client;
    if (message.type === "opened" && !mine) {
      const { doc } = this;
      if (doc && doc.painter === message.painter && doc.id === message.snippet_id) this.release();
    } else if (mine) {
      const { hearState: state, hearClip: clip, hearAck: ack, hearRefusal: refused, hearError: error } = this;
      ({ state, clip, ack, refused, error })[message.type]?.call(this, message, buffers);
    }
  }

  hearState(message) {
    const first = this.painter !== message.painter;
    this.request = null;
    this.known = message;
    [this.painter, this.queue] = [message.painter, message.queue];
    if (first && this.painter) {
      this.tools = { ...DEFAULT_TOOLS, ...message.tools, ...browserStore.read(this.place("tools")) };
      const place = browserStore.read(this.place("last"));
      this.open((this.row(place)?.state === "begun" ? this.row(place) : this.nextRow(-1))?.snippet_id);
    }
    this.tell("update");
  }

  async hearClip(message, buffers) {
    const key = this.place(`unsent/${message.snippet_id}`);
    if (this.wanted !== message.snippet_id || message.painter !== this.painter) return;
    this.request = null;
    let frames;
    try {
      frames = await Promise.all(buffers.map((bytes) => createImageBitmap(new Blob([bytes], { type: "image/jpeg" }))));
    } catch (error) {
      return this.hearError({ text: `The pictures of this snippet cannot be shown (${error}).` });
    }
    if (this.wanted !== message.snippet_id) return frames.forEach((frame) => frame.close());
    const unsent = mergeUnsent(message.ops, this.heldBack(key));
    const { header } = message, [{ width, height }] = frames;
    const doc = { // the header's size gives the proportions of the paint, the pictures may have come larger this time
      key, header, frames, unsent, size: { width, height }, painter: message.painter, id: message.snippet_id, fps: message.fps,
      painting: new Painting(frames.length), layers: frames.map(() => null), readOnly: false, pause: RESEND_MS,
    };
    for (const op of [...message.ops, ...unsent]) doc.painting.apply(op);
    doc.seconds = doc.painting.seconds;
    this.closeFrames();
    Object.assign(this, { doc, wanted: null, frame: 0, finished: false, lastInput: performance.now() });
    this.tools = { ...this.tools, tool: "brush" };
    this.waiting.delete(key);
    this.keepUnsent(doc, { take: true });
    for (const op of unsent) this.send(doc, op);
    browserStore.write(this.place("last"), doc.id);
    this.noteState(doc.id, doc.painting.state);
    this.setFrame(Math.max(0, doc.painting.lists.findIndex((list) => list.length)), true);
    this.tell("update");
    this.prepareLayers(doc, 0);
  }

  hearAck(message) {
    const doc = this.docOf(message);
    this.noteState(message.snippet_id, message.state);
    if (!doc) return;
    doc.unsent = doc.unsent.filter((op) => op.n > message.n);
    Object.assign(doc, { pause: RESEND_MS, firstSentAt: performance.now() });
    this.keepUnsent(doc);
    if (!doc.unsent.length) this.waiting.delete(doc.key);
    if (this.error && !this.unsent()) this.error = "";
    this.tell("update");
  }

  /** The kernel did not append an operation: it lacks some before it, has others in its place, or it cannot be used. */
  hearRefusal(message) {
    const doc = this.docOf(message), first = doc?.unsent[0];
    if (!doc || !first || message.n < first.n) return;
    if (message.last < message.n - 1 && message.last + 1 >= first.n) {
      return doc.unsent.filter((op) => op.n > message.last).forEach((op) => this.send(doc, op));
    }
    if (message.last === message.n - 1) {
      doc.unsent = doc.unsent.filter((op) => op.n !== message.n);
      this.error = message.why;
    } else {
      this.notice = "This snippet was also painted in another window; your last strokes now follow those.";
    }
    this.keepUnsent(doc);
    if (doc === this.doc) this.open(doc.id);
    this.tell("update");
  }

  hearError(message) {
    if (message.about === this.request?.message.type) this.request = null;
    this.error = message.text;
    this.tell("update");
  }

  // -- operations on their way --

  place(name) {
    return `nbpkg-painter/${this.known.store}/${this.painter}/${name}`;
  }

  docOf(message) {
    if (this.doc?.id === message.snippet_id && this.doc.painter === message.painter) return this.doc;
    return [...this.waiting.values()].find((doc) => doc.id === message.snippet_id && doc.painter === message.painter);
  }

  unsent() {
    return [this.doc, ...this.waiting.values()].reduce((sum, doc) => sum + (doc && !doc.readOnly ? doc.unsent.length : 0), 0);
  }

  /** What an earlier page, kernel or visit to this snippet could not get rid of. */
  heldBack(key) {
    const held = [...(browserStore.read(key)?.ops ?? [])], numbers = new Set(held.map((op) => op.n));
    const here = this.doc?.key === key && !this.doc.readOnly ? this.doc : this.waiting.get(key);
    return [...held, ...(here?.unsent ?? []).filter((op) => !numbers.has(op.n))];
  }

  send(doc, op) {
    doc.sentAt = performance.now();
    doc.firstSentAt ??= doc.sentAt;
    this.say({ type: "op", painter: doc.painter, snippet_id: doc.id, op });
  }

  keepUnsent(doc, { take = false } = {}) {
    if (!doc.unsent.length) doc.firstSentAt = undefined;
    const owner = browserStore.read(doc.key)?.owner ?? this.client;
    if (owner !== this.client && !take) return doc === this.doc ? this.release() : undefined;
    if (doc !== this.doc && !doc.unsent.length) return browserStore.remove(doc.key);
    if (!browserStore.write(doc.key, { owner: this.client, ops: doc.unsent }) && doc.unsent.length > 50) {
      this.notice = "This browser has no room left for unsaved strokes; do not close the page before they are saved.";
    }
  }

  /** Whoever opened a snippet last paints it: two windows at once would take each other's strokes back. */
  lookForOthers() {
    const held = browserStore.read(this.doc.key);
    if (held && held.owner !== this.client) this.release();
  }

  release() {
    if (this.stroke) this.cancelStroke();
    this.pause();
    this.doc.readOnly = true;
    this.tell("update");
  }

  noteState(id, state) {
    const row = this.row(id);
    if (row && state) row.state = state;
  }

  // -- the queue --

  row(id) {
    return this.queue.find((row) => row.snippet_id === id);
  }

  nextRow(position) {
    const open = this.queue.filter((row) => row.state === "todo" || row.state === "begun");
    return open.find((row) => row.position > position) ?? open[0];
  }

  choosePainter(painter) {
    this.leave();
    Object.assign(this, { painter: null, queue: [], error: "", notice: "", finished: false });
    if (painter) this.ask({ type: "who", painter });
    this.tell("update");
  }

  open(id) {
    this.leave();
    this.finished = !id;
    this.wanted = id ?? null;
    if (id) this.ask({ type: "open", snippet_id: id, painter: this.painter });
    this.tell("update");
  }

  leave() {
    this.finishStroke();
    this.pause();
    const { doc } = this;
    if (!doc) return;
    if (doc.unsent.length && !doc.readOnly) this.waiting.set(doc.key, doc);
    this.closeFrames();
    this.doc = null;
    if (!doc.readOnly) this.keepUnsent(doc);
  }

  closeFrames() {
    this.doc?.frames.forEach((frame) => frame.close());
  }

  // -- frames and layers --

  layer(frame) {
    const { doc } = this;
    doc.layers[frame] ??= new Layer(doc.size, doc.header);
    if (!(this.stroke && this.stroke.op.frame === frame)) doc.layers[frame].show(doc.painting.lists[frame]);
    return doc.layers[frame];
  }

  /** Paint what is not seen yet, a few frames at a time, so that the hand need not wait. */
  prepareLayers(doc, frame) {
    const until = performance.now() + 40;
    for (; this.doc === doc && frame < doc.frames.length; frame++) {
      if (performance.now() > until) return setTimeout(() => this.prepareLayers(doc, frame));
      if (doc.painting.lists[frame].length) this.layer(frame);
      this.tell("drawThumb", frame);
    }
  }

  setFrame(frame, force = false) {
    const count = this.doc?.frames.length ?? 1, wanted = clamp(frame, [0, count - 1]);
    if (wanted === this.frame && !force) return;
    this.finishStroke();
    this.frame = wanted;
    this.tell("showFrame");
  }

  step(by) {
    this.pause();
    const count = this.doc.frames.length;
    this.setFrame(Math.abs(by) === 1 ? (this.frame + by + count) % count : this.frame + by);
  }

  play() {
    if (!this.doc || this.playing) return this.pause();
    const { frame_ms: starts, end_ms: end } = this.doc.header, last = starts.length - 1;
    const total = Math.max(end, starts[last] + 1000 / this.doc.fps) - starts[0];
    const began = performance.now() - (this.frame === last ? 0 : starts[this.frame] - starts[0]);
    const show = () => {
      const passed = performance.now() - began;
      if (passed >= total && !this.tools.loop) return this.pause();
      const at = starts[0] + (passed % total);
      this.setFrame(starts.findLastIndex((start) => start <= at));
      this.playing = requestAnimationFrame(show);
    };
    this.playing = requestAnimationFrame(show);
    this.tell("update");
  }

  pause() {
    if (!this.playing) return;
    cancelAnimationFrame(this.playing);
    this.playing = null;
    this.tell("update");
  }

  // -- painting --

  /** Number an operation, apply it here, keep it, send it. */
  commit(op) {
    const { doc } = this;
    if (!doc || doc.readOnly) return -1;
    this.lookForOthers();
    if (doc.readOnly) return -1;
    this.finishStroke();
    const { op: kind, ...content } = op;
    const full = { op: kind, n: doc.painting.last + 1, seconds: round(doc.seconds, 1), ...content };
    const frame = doc.painting.apply(full);
    doc.unsent.push(full);
    this.keepUnsent(doc);
    this.send(doc, full);
    this.noteState(doc.id, doc.painting.state);
    this.notice = "";
    return frame;
  }

  beginStroke(tool, point) {
    if (!this.doc || this.doc.readOnly) return;
    this.finishStroke();
    this.pause();
    const { radius, strength } = this.tools[tool];
    const op = { op: "stroke", frame: this.frame, tool, radius: round(radius, 4), strength: round(strength, 4), points: [] };
    const layer = this.layer(this.frame);
    layer.prepare();
    this.stroke = { op, layer, trail: new Trail(op, layer.map, this.doc.header) };
    this.extendStroke([point]);
  }

  extendStroke(points) {
    const { op, trail } = this.stroke;
    for (const point of points) {
      const last = op.points.at(-1);
      const moved = !last || Math.hypot(point[1] - last[1], point[2] - last[2]) > 0.0003 || Math.abs((point[3] ?? 1) - (last[3] ?? 1)) > 0.02;
      if (!moved) continue;
      op.points.push(point);
      trail.add(point);
    }
    if (trail.dirty) this.tell("paintHeat", trail.dirty);
    trail.dirty = null;
  }

  finishStroke() {
    if (!this.stroke) return;
    const { op, layer } = this.stroke;
    this.stroke = null;
    if (this.commit(op) < 0) {
      layer.spoil();
      return this.tell("showFrame");
    }
    layer.settle(this.doc.painting.lists[op.frame]);
    this.tell("drawThumb", op.frame);
    this.tell("update");
  }

  cancelStroke() {
    this.stroke?.layer.spoil();
    this.stroke = null;
    this.tell("showFrame");
  }

  edit(op) {
    const frame = this.commit(op);
    if (frame < 0) return;
    this.pause();
    this.setFrame(frame, true);
    this.tell("drawThumb", frame);
    this.tell("update");
  }

  undo() {
    if (this.stroke) return this.cancelStroke();
    if (this.doc?.painting.done.length) this.edit({ op: "undo" });
    else this.tell("flash", "Nothing to undo");
  }

  redo() {
    if (this.doc?.painting.undone.length) this.edit({ op: "redo" });
    else this.tell("flash", "Nothing to do again");
  }

  clearFrame() {
    if (this.doc?.painting.lists[this.frame].length) this.edit({ op: "clear", frame: this.frame });
    else this.tell("flash", "This frame has no paint");
  }

  copyFrom(source) {
    const lists = this.doc?.painting.lists ?? [], side = source < this.frame ? "previous" : "next";
    if (!lists[source]?.length) this.tell("flash", `No paint to copy on the ${side} frame`);
    else if (lists[source] === lists[this.frame]) this.tell("flash", "Already the same paint");
    else this.edit({ op: "copy", frame: this.frame, source });
  }

  answer(question, value) {
    if (!this.doc || this.doc.painting.answers[question] === value) return;
    this.commit({ op: "answer", question, value });
    this.tell("update");
  }

  missing() {
    return this.known.questions.filter(({ question }) => !(question in this.doc.painting.answers)).map(({ question }) => question);
  }

  /** Hand in, and go on with the next snippet. */
  finish(op) {
    const { position } = this.row(this.doc.id);
    this.finishStroke();
    this.commit(op);
    if (!this.doc.readOnly) this.open(this.nextRow(position)?.snippet_id);
  }

  setTool(change) {
    this.tools = { ...this.tools, ...change };
    if (this.painter) browserStore.write(this.place("tools"), this.tools);
    this.tell("update");
  }

  setBrush(part, value) {
    const { tool } = this.tools, limits = part === "radius" ? SIZES : STRENGTHS;
    this.setTool({ [tool]: { ...this.tools[tool], [part]: clamp(value, limits) } });
    this.tell("flash", `${part === "radius" ? "Size" : "Strength"} ${percent(this.tools[tool][part])}`);
  }

  // -- time --

  touch() {
    this.lastInput = performance.now();
  }

  tick() {
    const now = performance.now(), { doc, request } = this;
    const isWorking = doc && !doc.readOnly && !document.hidden && this.views.size && now - this.lastInput < IDLE_MS;
    if (isWorking) doc.seconds += Math.min(TICK_MS * 4, now - (this.lastTick ?? now)) / 1000;
    this.lastTick = now;
    if (request && now - request.at > request.pause) {
      Object.assign(request, { at: now, pause: Math.min(30000, request.pause * 2) });
      this.say(request.message);
    }
    for (const each of [doc, ...this.waiting.values()]) {
      if (!each?.unsent.length || each.readOnly || now - each.sentAt < each.pause) continue;
      each.pause = Math.min(30000, each.pause * 1.6);
      each.unsent.slice(0, RESEND_AT_ONCE).forEach((op) => this.send(each, op));
    }
    this.tell("tick");
  }

  /** Saved, saving or not saved, in words. */
  saving() {
    const count = this.unsent(), now = performance.now();
    const late = [this.doc, ...this.waiting.values()].some((doc) => doc?.unsent.length && !doc.readOnly && now - doc.firstSentAt > LATE_MS);
    if (late) return { state: "late", text: this.error ? `${count} not saved` : `${count} not saved: the kernel does not answer` };
    return count ? { state: "saving", text: `saving ${count}` } : { state: "saved", text: "saved" };
  }
}

// ---- 6. View: one per place on the page where the widget is shown -----------------------------------------------------------

const ICONS = {
  brush: "M9 13 19.5 2.5a1.8 1.8 0 0 1 2.5 2.5L11.5 15.5M4 20c3.4.6 6-.8 6-3.7 0-1.7-1.2-2.8-2.8-2.8S4.5 14.7 4.5 16.3 4.2 19 3 19.500c.3.3.6.4 1 .5z",
  eraser: "M8 20h13M4.5 15 14 5.500a2 2 0 0 1 2.8 0l3.7 3.700a2 2 0 0 1 0 2.800L12.5 20H8.500l-4-4a.8.8 0 0 1 0-1zM9.5 10l6.5 6.5",
  undo: "M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3", redo: "m15 14 5-5-5-5M20 9H10a6 6 0 0 0 0 12h3",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1", clear: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  eye: "M2 12s3.5-6.5 10-6.500S22 12 22 12s-3.5 6.5-10 6.500S2 12 2 12zM12 9.300a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.400z",
  onion: "M12 3 2 8.5 12 14l10-5.500zM2 13.5 12 19l10-5.5", play: "M7 4v16l13-8z", pause: "M8 4v16M16 4v16",
  previous: "M6 5v14M19 5l-9 7 9 7z", next: "M18 5v14M5 5l9 7-9 7z", loop: "M17 2l4 4-4 4M3 11V9a3 3 0 0 1 3-3h15M7 22l-4-4 4-4M21 13v2a3 3 0 0 1-3 3H3",
  zoomIn: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5M8 11h6M11 8v6", zoomOut: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5M8 11h6",
  full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5", help: "M9 9a3 3 0 1 1 4.5 2.600c-1 .6-1.5 1.2-1.5 2.400M12 17.500v.5", done: "M4 12.500l5 5L20 6.5",
};
const STATES = { todo: "to do", begun: "begun", done: "done", skipped: "skipped" };

/** Make an element: attributes, `on...` handlers and properties, then what it holds. */
function h(tag, { text, icon, ...attributes } = {}, ...inside) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  if (icon) node.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[icon]}"/></svg>`;
  if (text !== undefined) node.append(text);
  node.append(...inside.filter(Boolean));
  return node;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const words = (name) => name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
const hide = (node, hidden) => node.toggleAttribute("hidden", hidden);
const press = (node, pressed) => node.setAttribute("aria-pressed", String(pressed));

class View {
  constructor(session, el) {
    this.session = session;
    Object.assign(this, { zoom: 1, pan: { x: 0, y: 0 }, pointers: new Map(), drag: null, space: null, shown: {}, confirming: "" });
    this.build(el);
    this.listen();
    session.views.add(this);
    this.update();
    if (session.doc) this.showFrame();
  }

  remove() {
    if (this.drag?.kind === "stroke") this.session.finishStroke();
    this.session.views.delete(this);
    this.sizes.disconnect();
    this.stopListening.abort();
    this.root.remove();
  }

  // -- what stands where --

  button(icon, label, keys, action, { named = false, ...attributes } = {}) {
    const title = keys ? `${label} (${keys})` : label;
    return h("button", { type: "button", icon, title, "aria-label": title, onclick: action, ...attributes }, named && h("span", { text: label }));
  }

  slider(label, keys, action, { low = 0, high = 1, named = true } = {}) {
    const input = h("input", { type: "range", min: low, max: high, step: "any", "aria-label": label, title: `${label} (${keys})` });
    input.addEventListener("input", () => action(Number(input.value)));
    input.addEventListener("pointerup", () => this.takeKeys());
    const value = h("output");
    return Object.assign(h("label", { class: "nbp-slider" }, named && h("span", { text: label }), input, value), { input, value });
  }

  build(el) {
    const { session: s } = this;
    this.root = h("div", { class: "nbp", tabindex: "0", role: "application", "aria-label": "Painter", "data-lm-suppress-shortcuts": "true" });
    this.root.nbpPainter = { session: s, view: this }; // for tests and measurements
    this.buildHead();
    this.buildTools();
    this.buildStage();
    this.buildTransport();
    this.side = h("div", { class: "nbp-side" }, this.sideInside = h("div", { class: "nbp-side-inside" }));
    this.middle = h("div", { class: "nbp-middle" }, this.stage, this.transport);
    this.work = h("div", { class: "nbp-work" }, this.tools, h("div", { class: "nbp-columns" }, this.middle, this.side));
    this.screen = h("div", { class: "nbp-screen" });
    this.banner = h("div", { class: "nbp-banner", role: "alert" });
    this.help = this.buildHelp();
    this.root.append(this.head, this.banner, this.screen, this.work, this.help);
    el.append(this.root);
  }

  buildHead() {
    const { session: s } = this;
    this.title = h("div", { class: "nbp-title" });
    this.progress = h("div", { class: "nbp-progress" }, this.progressText = h("span"), h("div", { class: "nbp-track" }, this.progressBar = h("div")));
    this.time = h("div", { class: "nbp-time", title: "Working time on this snippet; it stands still after 30 s without input" });
    this.saved = h("div", { class: "nbp-saved", role: "status" });
    this.who = h("button", { type: "button", class: "nbp-who", title: "Someone else paints", onclick: () => s.choosePainter(null) });
    this.fullButton = this.button("full", "Full screen", "F", () => this.toggleFull());
    this.helpButton = this.button("help", "Keys and mouse", "?", () => this.toggleHelp());
    this.head = h("div", { class: "nbp-head" }, this.title, this.progress, this.time, this.saved, this.who, this.fullButton, this.helpButton);
  }

  buildTools() {
    const { session: s } = this;
    const group = (...items) => h("div", { class: "nbp-group" }, ...items);
    this.brush = this.button("brush", "Brush", "B", () => s.setTool({ tool: "brush" }), { named: true });
    this.eraser = this.button("eraser", "Eraser", "E", () => s.setTool({ tool: "eraser" }), { named: true, class: "nbp-red" });
    const [low, high] = SIZES.map(Math.log);
    this.size = this.slider("Size", "wheel, or [ and ]", (value) => s.setBrush("radius", Math.exp(value)), { low, high });
    this.strength = this.slider("Strength", "Shift + wheel, or , and .", (value) => s.setBrush("strength", value), { low: STRENGTHS[0], high: 1 });
    this.undo = this.button("undo", "Undo", "Ctrl+Z", () => s.undo());
    this.redo = this.button("redo", "Redo", "Ctrl+Shift+Z", () => s.redo());
    this.copy = this.button("copy", "Copy previous", "D", () => s.copyFrom(s.frame - 1), { named: true, class: "nbp-spare" });
    this.clear = this.button("clear", "Clear frame", "C", () => s.clearFrame(), { named: true, class: "nbp-spare" });
    this.overlay = this.button("eye", "Show paint", "O", () => s.setTool({ overlay: !s.tools.overlay }));
    this.opacity = this.slider("Opacity", "+ and −", (value) => s.setTool({ opacity: value, overlay: true }), { low: 0.1, named: false });
    this.onion = this.button("onion", "Outlines of the neighbouring frames' paint", "N", () => this.toggleOnion());
    this.zoomText = h("button", { type: "button", class: "nbp-zoom", title: "Whole picture (0)", onclick: () => this.setZoom(1) });
    this.tools = h("div", { class: "nbp-tools", role: "toolbar", "aria-label": "Tools" },
      group(this.brush, this.eraser), group(this.size, this.strength), group(this.undo, this.redo), group(this.copy, this.clear),
      group(this.overlay, this.opacity, this.onion),
      group(this.button("zoomOut", "Zoom out", "Ctrl + wheel", () => this.setZoom(this.zoom / 1.25)), this.zoomText,
        this.button("zoomIn", "Zoom in", "Ctrl + wheel", () => this.setZoom(this.zoom * 1.25))));
  }

  buildStage() {
    [this.picture, this.onionSkin, this.heat] = ["picture", "onion", "heat"].map((name) => h("canvas", { class: `nbp-${name}` }));
    this.sheet = h("div", { class: "nbp-sheet" }, this.picture, this.heat, this.onionSkin);
    this.cursor = h("div", { class: "nbp-cursor", hidden: true });
    this.hud = h("div", { class: "nbp-hud", "aria-live": "polite" });
    this.hint = h("div", { class: "nbp-hint", text: "Click the picture to use the keys" });
    this.stage = h("div", { class: "nbp-stage" }, this.sheet, this.cursor, this.hud, this.hint);
  }

  buildTransport() {
    const { session: s } = this;
    this.playButton = this.button("play", "Play", "Space", () => s.play(), { class: "nbp-play" });
    this.loop = this.button("loop", "Loop", "L", () => s.setTool({ loop: !s.tools.loop }));
    this.frameText = h("div", { class: "nbp-frame" });
    this.strip = h("div", { class: "nbp-strip", role: "slider", "aria-label": "Frame", "aria-valuemin": 1 });
    this.transport = h("div", { class: "nbp-transport" },
      h("div", { class: "nbp-group" }, this.button("previous", "Previous frame", "←", () => s.step(-1)), this.playButton,
        this.button("next", "Next frame", "→", () => s.step(1)), this.loop),
      this.strip, this.frameText);
  }

  buildHelp() {
    const key = (word) => (word === "or" || word === "to" ? ` ${word} ` : h("kbd", { text: word }));
    const row = (keys, what) => h("tr", {}, h("td", {}, ...keys.split(" ").map(key)), h("td", { text: what }));
    const part = (name, rows) => h("table", {}, h("caption", { text: name }), h("tbody", {}, ...rows.map(([keys, what]) => row(keys, what))));
    const mouse = [
      ["drag", "paint"], ["right-drag", "erase"], ["wheel", "size"], ["Shift+wheel", "strength"], ["Ctrl+wheel", "zoom"],
      ["Space+drag", "move the picture"], ["Alt+drag", "size"],
    ];
    const more = `The middle button moves the picture, too. A pen paints with its pressure and erases with its other end; two fingers
      move and zoom. Everything is saved as you go.`;
    const close = this.button("done", "Close", "Esc", () => this.toggleHelp(false), { named: true });
    return h("div", { class: "nbp-help", hidden: true, role: "dialog", "aria-label": "Keys and mouse" },
      h("div", {}, h("div", { class: "nbp-tables" }, part("Keys", KEYS.filter(([, keys]) => keys).map(([, ...rest]) => rest)),
        part("Mouse, pen and touch", mouse)), h("p", { text: more }), close));
  }

  // -- from the session's state to the page --

  update() {
    const { session: s } = this, { doc } = s;
    const isAsked = s.known && s.request?.message.type !== "who";
    const screen = doc ? "work" : s.finished ? "finished" : s.painter ? "loading" : isAsked ? "who" : "connecting";
    hide(this.work, screen !== "work");
    hide(this.screen, screen === "work");
    this.updateBanner();
    this.updateHead();
    if (screen !== "work") this.updateScreen(screen);
    else this.updateWork();
    this.tick();
  }

  /** Build a part anew only where what it shows has changed, so that focus and pointer stay where they are. */
  rebuild(node, facts, make) {
    const now = JSON.stringify(facts);
    if (this.shown[node.className] === now) return;
    this.shown[node.className] = now;
    node.replaceChildren(...make().filter(Boolean));
  }

  updateBanner() {
    const { session: s } = this, taken = Boolean(s.doc?.readOnly);
    const facts = { error: s.error, notice: s.notice, taken };
    hide(this.banner, !s.error && !s.notice && !taken);
    this.banner.dataset.kind = s.error ? "error" : "notice";
    const close = () => { s.error = s.notice = ""; s.tell("update"); };
    this.rebuild(this.banner, facts, () => [
      h("span", { text: s.error || (taken ? "This snippet was opened in another window, which paints it now." : s.notice) }),
      taken && h("button", { type: "button", text: "Continue here", onclick: () => s.open(s.doc.id) }),
      !taken && h("button", { type: "button", text: "Close", onclick: close }),
    ]);
  }

  updateHead() {
    const { session: s } = this, row = s.doc && s.row(s.doc.id);
    const ended = s.queue.filter((each) => each.state === "done" || each.state === "skipped").length;
    this.title.replaceChildren(h("strong", { text: row ? title(row) : s.known?.title ?? "Painter" }));
    if (row) this.title.append(` ${clock(row.start_ms / 1000)}–${clock(row.end_ms / 1000)}`);
    for (const node of [this.progress, this.who]) hide(node, !s.painter);
    hide(this.saved, !s.painter && !s.unsent());
    hide(this.time, !s.doc);
    this.progressText.textContent = `${ended} of ${s.queue.length}`;
    this.progress.title = `${ended} of ${s.queue.length} snippets finished`;
    this.progressBar.style.width = `${(100 * ended) / Math.max(1, s.queue.length)}%`;
    this.who.textContent = s.painter ?? "";
  }

  updateScreen(screen) {
    const { session: s } = this, { known } = s, count = s.queue.length;
    const list = () => h("div", { class: "nbp-list" }, ...s.queue.map((row) => this.queueButton(row)));
    const choice = (text, onclick) => h("button", { type: "button", class: "nbp-primary", text, onclick });
    const again = () => { s.error = ""; s.open(s.wanted); };
    this.patience = h("p");
    const make = {
      connecting: () => [h("h2", { text: "Waiting for the kernel …" }), this.patience],
      loading: () => s.error ? [h("h2", { text: "This snippet cannot be opened" }), choice("Try again", again), list()]
        : [h("h2", { text: "Opening …" }), this.patience],
      who: () => [h("h2", { text: "Who paints?" }), known.instructions && h("p", { class: "nbp-instructions", text: known.instructions }),
        h("div", { class: "nbp-choices" }, ...known.painters.map((name) => choice(name, () => s.choosePainter(name))))],
      finished: () => count ? [h("h2", { text: `All ${count} snippets are finished. Thank you!` }),
        h("p", { text: "Any of them can be opened again." }), list()] : [h("h2", { text: "There is no snippet in this queue." })],
    };
    this.screen.replaceChildren(...make[screen]().filter(Boolean));
  }

  updateWork() {
    const { session: s } = this, { doc, tools } = s, current = tools[tools.tool];
    press(this.brush, tools.tool === "brush");
    press(this.eraser, tools.tool === "eraser");
    press(this.overlay, tools.overlay);
    press(this.onion, tools.onion);
    press(this.loop, tools.loop);
    const set = (slider, value, text) => { slider.input.value = value; slider.value.textContent = text; };
    set(this.size, Math.log(current.radius), percent(current.radius));
    set(this.strength, current.strength, percent(current.strength));
    set(this.opacity, tools.opacity, percent(tools.opacity));
    this.undo.disabled = !doc.painting.done.length;
    this.redo.disabled = !doc.painting.undone.length;
    this.heat.style.opacity = tools.overlay ? tools.opacity : 0;
    this.onionSkin.style.opacity = tools.onion && tools.overlay ? 1 : 0;
    this.playButton.querySelector("path").setAttribute("d", ICONS[s.playing ? "pause" : "play"]);
    this.rebuild(this.strip, [doc.id, doc.frames.length, doc.painter], () => this.makeStrip());
    doc.painting.lists.forEach((_, frame) => this.thumbs[frame].button.classList.toggle("nbp-painted", doc.painting.isPainted(frame)));
    this.updateSide();
    this.root.classList.toggle("nbp-erasing", tools.tool === "eraser");
    this.root.classList.toggle("nbp-readonly", doc.readOnly);
    this.placeCursor();
  }

  updateSide() {
    const { session: s } = this, { answers, state } = s.doc.painting;
    const facts = [s.doc.id, answers, state, s.queue, this.confirming, this.asking];
    this.rebuild(this.sideInside, facts, () => [
      ...this.makeQuestions(answers),
      h("div", { class: "nbp-hand-in" },
        this.button("done", state === "done" ? "Next snippet" : "Submit", "Enter", () => this.submit(), { named: true, class: "nbp-primary" }),
        h("button", { type: "button", text: "Skip …", title: "Leave this snippet out, with a reason (S)", onclick: () => this.askReason() })),
      this.confirming && h("p", { class: "nbp-confirm", text: this.confirming }),
      this.asking && this.makeReason(),
      state === "done" && h("p", { class: "nbp-note", text: "Submitted. Whatever you change now opens it again." }),
      state === "skipped" && h("p", { class: "nbp-note", text: `Skipped: ${s.doc.painting.reason}` }),
      h("h3", { text: "Snippets" }),
      h("div", { class: "nbp-list" }, ...s.queue.map((row) => this.queueButton(row)))]);
  }

  makeQuestions(answers) {
    const { session: s } = this;
    let digit = 0;
    return s.known.questions.map(({ question, values }) => h("fieldset", { class: question in answers ? "" : "nbp-open" },
      h("legend", { text: words(question) }),
      h("div", { class: "nbp-values" }, ...values.map((value) => {
        digit += 1;
        const key = digit < 10 ? String(digit) : "";
        const button = h("button", { type: "button", title: key ? `${value} (${key})` : value, onclick: () => s.answer(question, value) },
          h("span", { text: value }), key && h("kbd", { text: key }));
        press(button, answers[question] === value);
        return button;
      }))));
  }

  makeReason() {
    const { session: s } = this;
    const input = h("input", { type: "text", placeholder: "Why? e.g. the child cannot be seen", "aria-label": "Reason for skipping" });
    const skip = () => {
      if (!input.value.trim()) return input.focus();
      this.asking = false;
      this.takeKeys();
      s.finish({ op: "skip", reason: input.value.trim() });
    };
    input.addEventListener("keydown", (event) => event.key === "Enter" && skip());
    setTimeout(() => input.focus());
    return h("div", { class: "nbp-reason" }, input, h("button", { type: "button", class: "nbp-primary", text: "Skip", onclick: skip }),
      h("button", { type: "button", text: "Cancel", onclick: () => this.askReason(false) }));
  }

  queueButton(row) {
    const { session: s } = this, state = STATES[row.state], isOpen = s.doc?.id === row.snippet_id;
    const onclick = () => !isOpen && s.open(row.snippet_id);
    return h("button", { type: "button", "data-state": row.state, "aria-current": isOpen && "true", title: `${title(row)}: ${state}`, onclick },
      h("i", { "aria-hidden": "true" }), h("span", { class: "nbp-number", text: String(row.position + 1) }),
      h("span", { class: "nbp-name", text: title(row) }), h("small", { text: state }));
  }

  makeStrip() {
    const { doc } = this.session, { width, height } = doc.size;
    this.thumbs = doc.frames.map((_, frame) => {
      const canvas = h("canvas", { width: 96, height: Math.max(1, Math.round((96 * height) / width)) });
      return { canvas, button: h("div", { class: "nbp-thumb", title: `Frame ${frame + 1}` }, canvas, h("i")) };
    });
    this.thumbs.forEach((_, frame) => this.drawThumb(frame));
    return this.thumbs.map(({ button }) => button);
  }

  tick() {
    const { session: s } = this, { state, text } = s.saving();
    this.time.textContent = s.doc ? clock(s.doc.seconds) : "";
    if (this.saved.textContent !== text) this.saved.textContent = text;
    this.saved.dataset.state = state;
    const waited = s.request ? performance.now() - s.request.since : 0;
    if (this.patience && waited > LATE_MS) {
      this.patience.textContent = "No answer yet. Perhaps a cell is still running, or the kernel has to be started and the cell run again.";
    }
  }

  flash(text) {
    this.hud.textContent = text;
    this.hud.classList.add("nbp-on");
    clearTimeout(this.flashing);
    this.flashing = setTimeout(() => this.hud.classList.remove("nbp-on"), 1200);
  }

  // -- picture and paint --

  showFrame() {
    const { session: s } = this, { doc } = s;
    if (!doc) return;
    const { frame_ms: starts, start_ms: start } = doc.header, { width, height } = doc.size;
    if (this.heat.width !== width || this.heat.height !== height || !this.image) {
      for (const canvas of [this.picture, this.onionSkin, this.heat]) Object.assign(canvas, { width, height });
      this.image = new ImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      Object.assign(this.sheet.style, { width: `${width}px`, height: `${height}px` });
    }
    if (this.laidOut !== doc) {
      this.laidOut = doc;
      this.confirming = "";
      this.setZoom(1);
      if (this.root.contains(document.activeElement)) this.root.scrollIntoView({ block: "nearest" });
    }
    this.picture.getContext("2d").drawImage(doc.frames[s.frame], 0, 0, width, height);
    this.paintHeat([0, 0, width, height]);
    if (s.tools.onion) this.paintOnion();
    const seconds = ((starts[s.frame] - start) / 1000).toFixed(1);
    this.frameText.replaceChildren(h("b", { text: `${s.frame + 1}` }), ` / ${doc.frames.length}`, h("small", { text: `${seconds} s` }));
    this.strip.setAttribute("aria-valuemax", doc.frames.length);
    this.strip.setAttribute("aria-valuenow", s.frame + 1);
    this.thumbs?.forEach(({ button }, frame) => button.classList.toggle("nbp-current", frame === s.frame));
  }

  paintHeat(rect) {
    const { map } = this.session.layer(this.session.frame), [x0, y0, x1, y1] = rect;
    recolour(map, this.pixels, rect);
    this.heat.getContext("2d").putImageData(this.image, 0, 0, x0, y0, x1 - x0, y1 - y0);
  }

  toggleOnion() {
    this.session.setTool({ onion: !this.session.tools.onion });
    if (this.session.doc) this.showFrame();
    this.flash(this.session.tools.onion ? "Outlines: cyan before, green after" : "No outlines");
  }

  paintOnion() {
    const { session: s } = this, { width, height } = this.onionSkin;
    const image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    [[s.frame + 1, 0xff50e070], [s.frame - 1, 0xffffe040]].forEach(([frame, colour]) => {
      if (s.doc.painting.lists[frame]?.length) outline(s.layer(frame).map, pixels, colour);
    });
    this.onionSkin.getContext("2d").putImageData(image, 0, 0);
  }

  drawThumb(frame) {
    const { doc } = this.session, thumb = this.thumbs?.[frame];
    if (!doc || !thumb) return;
    const { canvas } = thumb, context = canvas.getContext("2d"), map = doc.layers[frame]?.map;
    context.drawImage(doc.frames[frame], 0, 0, canvas.width, canvas.height);
    if (!map) return;
    const image = context.getImageData(0, 0, canvas.width, canvas.height), { data } = image;
    for (let y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++) {
        const row = Math.floor(((y + 0.5) * map.height) / canvas.height), column = Math.floor(((x + 0.5) * map.width) / canvas.width);
        const colour = heatOf(map.data[row * map.width + column]), alpha = (colour >>> 24) / 255, at = 4 * (y * canvas.width + x);
        for (let i = 0; i < 3; i++) data[at + i] += (((colour >>> (8 * i)) & 255) - data[at + i]) * alpha;
      }
    }
    context.putImageData(image, 0, 0);
  }

  // -- size, zoom and cursor --

  resize() {
    const { doc } = this.session;
    if (!doc || !this.middle.clientWidth) return;
    const { width, height } = doc.size;
    const isFull = document.fullscreenElement === this.root, host = this.root.closest(".jp-WindowedPanel-outer, .jp-NotebookPanel-notebook");
    const outer = isFull ? window.innerHeight : (host?.clientHeight || window.innerHeight) - 40;
    const parts = [this.head, this.banner, this.tools, this.transport].reduce((sum, node) => sum + node.offsetHeight, 0);
    const room = Math.max(220, outer - parts), wanted = isFull ? room : (this.middle.clientWidth * height) / width;
    const tall = Math.round(clamp(wanted, [160, room]));
    this.stage.style.height = `${tall}px`;
    this.fit = Math.min(this.stage.clientWidth / width, tall / height);
    this.place();
  }

  get scale() {
    return this.fit * this.zoom; // screen pixels for one of the picture
  }

  /** Zoom so that the point (x, y) of the stage, its centre unless given, stays where it is. */
  setZoom(zoom, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const wanted = clamp(zoom, [1, 16]), ratio = wanted / this.zoom;
    const [cx, cy] = [x - this.stage.clientWidth / 2, y - this.stage.clientHeight / 2];
    this.pan = { x: cx - (cx - this.pan.x) * ratio, y: cy - (cy - this.pan.y) * ratio };
    this.zoom = wanted;
    this.resize();
  }

  place() {
    const { width, height } = this.session.doc.size, { clientWidth, clientHeight } = this.stage;
    const most = { x: Math.max(0, (width * this.scale - clientWidth) / 2), y: Math.max(0, (height * this.scale - clientHeight) / 2) };
    for (const axis of ["x", "y"]) this.pan[axis] = clamp(this.pan[axis], [-most[axis], most[axis]]);
    this.left = (clientWidth - width * this.scale) / 2 + this.pan.x;
    this.top = (clientHeight - height * this.scale) / 2 + this.pan.y;
    this.sheet.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.scale})`;
    this.zoomText.textContent = `${Math.round(100 * this.zoom)} %`;
    this.placeCursor();
  }

  placeCursor(event) {
    if (event) this.pointer = this.onStage(event);
    const { doc, tools } = this.session;
    if (!doc || !this.pointer || !this.fit) return;
    const tool = this.drag?.kind === "stroke" ? this.drag.tool : tools.tool;
    const across = 2 * tools[tool].radius * Math.min(doc.size.width, doc.size.height) * this.scale, { style } = this.cursor;
    if (this.cursor.dataset.tool !== tool) this.cursor.dataset.tool = tool;
    if (this.across !== across) [this.across, style.width, style.height] = [across, `${across}px`, `${across}px`];
    style.transform = `translate(${this.pointer.x - across / 2}px, ${this.pointer.y - across / 2}px)`;
  }

  onStage(event, box = this.stage.getBoundingClientRect()) {
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** [ms since the stroke began, x, y] and for a pen its pressure, rounded as they are stored. */
  point(event, box = undefined) {
    const { x, y } = this.onStage(event, box), { width, height } = this.session.doc.size;
    const ms = Math.max(0, Math.round(event.timeStamp - this.drag.began));
    const place = [(x - this.left) / (this.scale * width), (y - this.top) / (this.scale * height)].map((value) => round(clamp(value, [-9, 9]), 5));
    return event.pointerType === "pen" ? [ms, ...place, round(event.pressure, 5)] : [ms, ...place];
  }

  // -- pointer and wheel --

  listen() {
    this.stopListening = new AbortController();
    const { stage, root, strip } = this, { signal } = this.stopListening;
    const on = (node, names, action, options = {}) => {
      for (const name of names.split(" ")) node.addEventListener(name, action, { signal, ...options });
    };
    on(stage, "pointerdown", (event) => this.onDown(event));
    on(stage, "pointermove", (event) => this.onMove(event));
    on(stage, "pointerup pointercancel lostpointercapture", (event) => this.onUp(event));
    on(stage, "pointerenter", (event) => { this.placeCursor(event); hide(this.cursor, event.pointerType === "touch"); });
    on(stage, "pointerleave", () => hide(this.cursor, true));
    on(stage, "contextmenu", (event) => { event.preventDefault(); event.stopPropagation(); });
    on(stage, "wheel", (event) => this.onWheel(event), { passive: false });
    on(strip, "pointerdown", (event) => { strip.setPointerCapture(event.pointerId); this.scrub(event); });
    on(strip, "pointermove", (event) => event.buttons & 1 && this.scrub(event));
    on(root, "pointermove pointerdown wheel keydown", () => this.session.touch(), { passive: true, capture: true });
    // A pressed button must not keep the keyboard: Space is to play, not to press it again.
    on(root, "mousedown", (event) => { if (!event.target.closest("input")) { event.preventDefault(); this.takeKeys(); } });
    on(root, "click", (event) => { if (!event.target.closest("input") && event.detail) this.takeKeys(); });
    on(root, "keydown", (event) => this.onKey(event));
    on(root, "keyup", (event) => this.onKeyUp(event));
    on(root, "focusout", () => { this.space = null; });
    on(document, "fullscreenchange", () => this.resize());
    on(window, "resize", () => this.resize());
    on(window, "pagehide", () => this.session.finishStroke());
    this.sizes = new ResizeObserver(() => this.resize());
    for (const node of [this.middle, this.tools, this.head]) this.sizes.observe(node);
  }

  takeKeys() {
    this.root.focus({ preventScroll: true });
  }

  onDown(event) {
    const { session: s } = this;
    if (!s.doc || s.doc.readOnly) return;
    event.preventDefault();
    this.takeKeys();
    setTimeout(() => this.takeKeys()); // JupyterLab moves the focus when another cell is clicked
    this.placeCursor(event);
    this.pointers.set(event.pointerId, this.onStage(event));
    this.stage.setPointerCapture(event.pointerId);
    if (event.pointerType === "touch" && this.pointers.size === 2) return this.beginPinch();
    if (this.drag) return;
    const start = this.onStage(event);
    if (event.button === 1 || this.space) this.drag = { kind: "pan", start, pan: { ...this.pan } };
    else if (event.altKey && event.button === 0) this.drag = { kind: "size", start, radius: s.tools[s.tools.tool].radius };
    else if ([0, 2, 5].includes(event.button)) this.beginStroke(event);
    if (this.drag) this.drag.pointerId = event.pointerId;
    if (this.space) this.space.used = true;
  }

  beginStroke(event) {
    const tool = event.button === 0 ? this.session.tools.tool : "eraser";
    this.drag = { kind: "stroke", tool, began: event.timeStamp };
    this.session.beginStroke(tool, this.point(event));
    this.placeCursor(event);
  }

  /** A second finger: the first one was not meant to paint. */
  beginPinch() {
    if (this.drag?.kind === "stroke") this.session.cancelStroke();
    this.drag = { kind: "pinch", zoom: this.zoom, ...this.fingers() };
  }

  fingers() {
    const [a, b] = [...this.pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
  }

  onMove(event) {
    const { drag, session: s } = this, box = this.stage.getBoundingClientRect(); // once: the cursor's move makes it costly
    this.placeCursor(event);
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, this.pointer);
    if (!drag || (drag.pointerId !== undefined && drag.pointerId !== event.pointerId)) return;
    if (drag.kind === "stroke" && s.stroke) {
      const events = event.getCoalescedEvents?.() ?? [];
      s.extendStroke((events.length ? events : [event]).map((each) => this.point(each, box)));
    } else if (drag.kind === "pan") {
      this.pan = { x: drag.pan.x + this.pointer.x - drag.start.x, y: drag.pan.y + this.pointer.y - drag.start.y };
      this.place();
    } else if (drag.kind === "size") {
      s.setBrush("radius", drag.radius * Math.exp((this.pointer.x - drag.start.x) / 150));
    } else if (drag.kind === "pinch" && this.pointers.size > 1) {
      const now = this.fingers();
      this.pan = { x: this.pan.x + now.x - drag.x, y: this.pan.y + now.y - drag.y };
      Object.assign(drag, { x: now.x, y: now.y });
      this.setZoom((drag.zoom * now.apart) / drag.apart, now.x, now.y);
    }
  }

  onUp(event) {
    const known = this.pointers.delete(event.pointerId);
    if (!known || !this.drag || (this.drag.pointerId !== undefined && this.drag.pointerId !== event.pointerId)) return;
    if (this.drag.kind === "stroke" && this.session.stroke) {
      if (event.type === "pointerup") this.session.extendStroke([this.point(event)]);
      this.session.finishStroke();
    }
    if (this.drag.kind !== "pinch" || !this.pointers.size) this.drag = null;
    this.placeCursor();
  }

  onWheel(event) {
    const { session: s } = this;
    if (!s.doc) return;
    event.preventDefault();
    event.stopPropagation();
    const turn = -(event.deltaY || event.deltaX) * (event.deltaMode === 1 ? 33 : 1); // Shift makes some browsers turn sideways
    const { x, y } = this.onStage(event), { radius, strength } = s.tools[s.tools.tool];
    if (event.ctrlKey || event.metaKey) this.setZoom(this.zoom * Math.exp(turn * 0.002), x, y);
    else if (event.shiftKey) s.setBrush("strength", strength * Math.exp(turn * 0.0015));
    else s.setBrush("radius", radius * Math.exp(turn * 0.0015));
    this.placeCursor(event);
  }

  scrub(event) {
    const box = this.strip.getBoundingClientRect(), count = this.session.doc.frames.length;
    this.session.pause();
    this.session.setFrame(clamp(Math.floor(((event.clientX - box.left) / box.width) * count), [0, count - 1]));
  }

  // -- keys --

  onKey(event) {
    const isTyping = event.target.matches("input[type=text]"), isOperating = event.target !== this.root && event.target.matches("button, input");
    event.stopPropagation(); // JupyterLab must not take a letter for a command
    if (isTyping && event.key !== "Escape") return;
    if (isOperating && (["Enter", " "].includes(event.key) || (event.target.matches("input") && event.key.startsWith("Arrow")))) return;
    const action = ACTIONS.get(keyName(event)) ?? this.digitAction(event);
    if (action) event.preventDefault();
    if (action && (this.session.doc || ["escape", "?"].includes(keyName(event)))) action(this, this.session, event);
  }

  digitAction(event) {
    const options = (this.session.known?.questions ?? []).flatMap(({ question, values }) => values.map((value) => [question, value]));
    const choice = /^[1-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey && options[Number(event.key) - 1];
    return choice ? () => this.session.answer(...choice) : undefined;
  }

  /** A tap on Space plays; held down it moves the picture. */
  onKeyUp(event) {
    if (event.key !== " " || !this.space) return;
    const { used } = this.space;
    this.space = null;
    this.root.classList.remove("nbp-moving");
    if (!used && this.session.doc) this.session.play();
  }

  holdSpace() {
    this.space ??= { used: false };
    this.root.classList.add("nbp-moving");
  }

  escape() {
    if (!this.help.hidden) return this.toggleHelp(false);
    if (this.asking) return this.askReason(false);
    if (this.session.stroke) return this.session.cancelStroke();
    if (document.fullscreenElement) return document.exitFullscreen();
    const notebook = this.root.closest(".jp-Notebook");
    document.activeElement?.blur();
    notebook?.focus({ preventScroll: true });
  }

  toggleHelp(on = this.help.hidden) {
    hide(this.help, !on);
    this.takeKeys();
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.();
  }

  askReason(on = true) {
    Object.assign(this, { asking: on, confirming: "" });
    if (!on) this.takeKeys();
    this.update();
  }

  submit() {
    const { session: s } = this, missing = s.missing(), { painting } = s.doc;
    if (painting.state === "done") return s.open(s.nextRow(s.row(s.doc.id).position)?.snippet_id);
    const isBare = !painting.lists.some((_, frame) => painting.isPainted(frame));
    const asked = "Nothing is painted. Submit again if nothing in this snippet made you answer so.";
    if (missing.length) this.confirming = `Please answer first: ${missing.map(words).join(", ")}.`;
    else if (isBare && this.confirming !== asked) this.confirming = asked;
    else return s.finish({ op: "submit" });
    this.update();
  }
}

/** The key as in KEYS: lower case, with ctrl+ and shift+ where they are held and matter. */
function keyName(event) {
  if (event.key.length === 1 && event.getModifierState("AltGraph")) return event.key; // [ and ] on many keyboards
  const isSign = event.key.length === 1 && event.key.toLowerCase() === event.key.toUpperCase() && event.key !== " ";
  const modifiers = [(event.ctrlKey || event.metaKey) && "ctrl+", event.altKey && "alt+", event.shiftKey && !isSign && "shift+"];
  return modifiers.filter(Boolean).join("") + event.key.toLowerCase();
}

const scaleBrush = (part, factor) => (view, s) => s.setBrush(part, s.tools[s.tools.tool][part] * factor);
const fade = (by) => (view, s) => {
  s.setTool({ opacity: clamp(s.tools.opacity + by, [0.1, 1]), overlay: true });
  view.flash(`Opacity ${percent(s.tools.opacity)}`);
};
const KEYS = [ // names as keyName gives them, what the help says, what it does; the first of several is explained
  ["b", "B", "brush", (view, s) => s.setTool({ tool: "brush" })],
  ["e", "E", "eraser", (view, s) => s.setTool({ tool: "eraser" })],
  ["[", "[ or ]", "smaller, larger", scaleBrush("radius", 1 / 1.15)],
  ["]", "", "", scaleBrush("radius", 1.15)],
  [",", ", or .", "weaker, stronger", scaleBrush("strength", 1 / 1.15)],
  [".", "", "", scaleBrush("strength", 1.15)],
  ["ctrl+z", "Ctrl+Z", "undo", (view, s) => s.undo()],
  ["ctrl+shift+z ctrl+y", "Ctrl+Shift+Z", "redo", (view, s) => s.redo()],
  ["d", "D", "copy paint from the frame before", (view, s) => s.copyFrom(s.frame - 1)],
  ["shift+d", "Shift+D", "copy paint from the frame after", (view, s) => s.copyFrom(s.frame + 1)],
  ["c", "C", "clear the frame", (view, s) => s.clearFrame()],
  ["arrowright", "← or →", "previous, next frame", (view, s) => s.step(1)],
  ["arrowleft", "", "", (view, s) => s.step(-1)],
  ["shift+arrowright", "Shift+← or Shift+→", "ten frames", (view, s) => s.step(10)],
  ["shift+arrowleft", "", "", (view, s) => s.step(-10)],
  ["home", "Home or End", "first, last frame", (view, s) => s.step(-1e6)],
  ["end", "", "", (view, s) => s.step(1e6)],
  ["arrowup arrowdown pageup pagedown", "", "", () => {}], // they would scroll the page away
  [" ", "Space", "play, pause", (view) => view.holdSpace()],
  ["l", "L", "loop", (view, s) => s.setTool({ loop: !s.tools.loop })],
  ["o", "O", "paint on, off", (view, s) => s.setTool({ overlay: !s.tools.overlay })],
  ["+ =", "+ or −", "more, less opaque", fade(0.1)],
  ["- _ −", "", "", fade(-0.1)],
  ["n", "N", "outlines of the frames beside", (view) => view.toggleOnion()],
  ["0", "0", "whole picture", (view) => view.setZoom(1)],
  ["f", "F", "full screen", (view) => view.toggleFull()],
  ["1", "1 to 9", "answers", undefined],
  ["enter", "Enter", "submit, then the next snippet", (view) => view.submit()],
  ["s", "S", "skip, with a reason", (view) => view.askReason()],
  ["ctrl+s", "", "", (view) => view.flash("Everything is saved as you go")],
  ["escape", "Esc", "keys go to the notebook again", (view) => view.escape()],
  ["?", "?", "this list", (view) => view.toggleHelp()],
];
const ACTIONS = new Map(KEYS.filter(([, , , action]) => action)
  .flatMap(([names, , , action]) => (names === " " ? [" "] : names.split(" ")).map((name) => [name, action])));

// ---- 7. What anywidget calls: once for each widget, and once for each place where it is shown ---------------------------------

export default () => {
  let session;
  return {
    initialize({ model }) {
      session = new Session(model);
      return () => session.stop();
    },
    render({ el }) {
      const view = new View(session, el);
      return () => view.remove();
    },
  };
};
