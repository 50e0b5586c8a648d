const byId = (id) => document.getElementById(id);
const video = byId("video");
const canvas = byId("overlay");
const pen = canvas.getContext("2d");

window.addEventListener("error", ({ message }) => complain(message));
window.addEventListener("unhandledrejection", ({ reason }) => complain(reason));
video.addEventListener("error", () => complain(`${decodeURI(video.getAttribute("src"))} is not beside this page, or cannot be played here.`));

function complain(message) {
  byId("fault").textContent = message;
  byId("fault").hidden = false;
}

// What the page holds. Of every track: its identity, class, colours, and for each frame in which it is seen a score,
// a box and a mask. `times` says when each frame begins and, last, when the video ends.
const { times, size, opacity, tracks } = await unpack(byId("packed").textContent);
const [height, width] = size;
const count = times.length - 1;
const end = times[count];
for (const [index, track] of tracks.entries()) {
  track.parts = [...document.querySelectorAll(`[data-track="${index}"]`)]; // its rows, of table and time line
  track.position = new Map(track.frames.map((frame, position) => [frame, position]));
}
const classes = [...document.querySelectorAll("[data-label]")];
const ofClass = (button) => tracks.filter((track) => track.label === Number(button.dataset.label));

async function unpack(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = letters.charCodeAt(at);
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(inflated).json();
}

// Masks. COCO's run lengths, column by column: groups of five bits, the lowest first, from the character 48 on; bit 6
// says that another group follows, the highest bit of the last is the sign; from the fourth number on, differences to
// the last but one.
function runLengths(counts) {
  const lengths = [];
  for (let at = 0; at < counts.length; ) {
    let [value, shift, group] = [0, 0, 32];
    for (; group & 32; shift += 5) {
      group = counts.charCodeAt(at++) - 48;
      value |= (group & 31) << shift;
    }
    if (group & 16) value |= -1 << shift;
    lengths.push(lengths.length > 2 ? value + lengths[lengths.length - 2] : value);
  }
  return lengths;
}

// The pixels of a mask in a grid just large enough, with a margin of one; columns lie behind each other.
function pixels(counts) {
  const lengths = runLengths(counts);
  const runs = []; // [column, first row, last row + 1]
  let [at, left, right, top, bottom] = [0, width, -1, height, 0];
  for (const [index, length] of lengths.entries()) {
    const stop = at + length;
    while (index % 2 && at < stop) {
      const column = Math.floor(at / height);
      const [from, to] = [at - column * height, Math.min(stop - column * height, height)];
      runs.push([column, from, to]);
      [left, right, top, bottom] = [Math.min(left, column), column, Math.min(top, from), Math.max(bottom, to)];
      at = column * height + to;
    }
    at = stop;
  }
  const stride = bottom - top + 2;
  const grid = new Uint8Array(Math.max(0, right - left + 3) * Math.max(0, stride));
  for (const [column, from, to] of runs) {
    const begin = (column - left + 1) * stride + 1 - top;
    grid.fill(1, begin + from, begin + to);
  }
  return { grid, stride, left: left - 1, top: top - 1 };
}

// The outline of a mask, in pixels of the frame: around every region and every hole, through the middles of the edges of
// pixels, which cuts the corners of their stairs. One walks from corner to corner with the mask to the right.
function outline(counts) {
  const { grid, stride, left, top } = pixels(counts);
  const path = new Path2D();
  const steps = [stride, 1, -stride, -1]; // right, down, left, up
  const around = [-1, 0, -stride, -stride - 1]; // a corner's pixels: ahead to the left; one further, to the right
  const walked = new Uint8Array(grid.length); // edges above a pixel: every way round has one
  for (let start = 0; start < grid.length; start++) {
    if (!grid[start] || grid[start - 1] || walked[start]) continue;
    let [corner, direction, turned, first] = [start, 0, true, true];
    do {
      if (direction === 0) walked[corner] = 1;
      const next = corner + steps[direction];
      const before = direction;
      if (grid[next + around[direction]]) direction = (direction + 3) % 4;
      else if (!grid[next + around[(direction + 1) % 4]]) direction = (direction + 1) % 4;
      if (turned || direction !== before) { // in the middle of a straight line nothing need be said
        const x = left + (Math.floor(corner / stride) + Math.floor(next / stride)) / 2;
        const y = top + ((corner % stride) + (next % stride)) / 2;
        if (first) path.moveTo(x, y);
        else path.lineTo(x, y);
        first = false;
      }
      turned = direction !== before;
      corner = next;
    } while (corner !== start || direction !== 0);
    path.closePath();
  }
  return path;
}

// What is wanted to be seen: which tracks, and whether any of them is drawn.
let drawing = true;
let listed = new Set(tracks);

const isAlone = (track) => listed.size === 1 && tracks.length > 1 && listed.has(track);

function list(chosen) {
  listed = new Set(chosen);
  viewChanged();
}

// Adds those tracks to what is seen, or takes them away where all of them are seen.
function toggle(some) {
  const others = tracks.filter((track) => listed.has(track) && !some.includes(track));
  list(some.every((track) => listed.has(track)) ? others : [...others, ...some]);
}

function showAlone(track) {
  if (isAlone(track)) return list(tracks);
  list([track]);
  seek(track.first);
  for (const part of track.parts) revealed(part);
}

// Scrolls a row into its own box, and leaves the page where it is.
function revealed(row) {
  const box = row.closest(".scroll, .timeline");
  const head = box.querySelector("thead, .scale").offsetHeight;
  const [inner, outer] = [row.getBoundingClientRect(), box.getBoundingClientRect()];
  if (inner.top < outer.top + head) box.scrollTop -= outer.top + head - inner.top;
  if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom;
}

// Whether all, none or some of them are seen.
const pressed = (some) => {
  const seen = some.filter((track) => listed.has(track)).length;
  return seen === some.length ? "true" : seen ? "mixed" : "false";
};

function viewChanged() {
  for (const track of tracks) {
    for (const part of track.parts) {
      part.classList.toggle("off", !listed.has(track));
      part.querySelector(".name").setAttribute("aria-pressed", isAlone(track));
    }
    track.parts[0].querySelector("input").checked = listed.has(track);
  }
  for (const button of classes) button.setAttribute("aria-pressed", pressed(ofClass(button)));
  if (tracks.length) {
    byId("overlays").setAttribute("aria-pressed", drawing);
    byId("all").checked = listed.size === tracks.length;
    byId("all").indeterminate = pressed(tracks) === "mixed";
  }
  draw();
}

// The overlay of the frame shown. Outlines are made when they are first drawn, and kept as long as their frame is shown.
let shown = 0;
let outlines = new Map();

function show(frame) {
  if (frame === shown) return;
  shown = frame;
  outlines = new Map();
  draw();
  placed();
}

function draw() {
  const dots = window.devicePixelRatio;
  const scale = canvas.width / (width + (width % 2)); // an odd size was made even
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const drawn = drawing ? tracks.filter((track) => listed.has(track) && track.position.has(shown)) : [];
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.lineJoin = "round";
  pen.lineWidth = (1.75 * dots) / scale;
  for (const track of drawn) {
    if (!outlines.has(track)) outlines.set(track, outline(track.masks[track.position.get(shown)]));
    pen.fillStyle = pen.strokeStyle = track.colour;
    pen.globalAlpha = opacity;
    pen.fill(outlines.get(track), "evenodd");
    pen.globalAlpha = 1;
    pen.stroke(outlines.get(track));
  }
  pen.lineWidth = dots / scale;
  for (const track of drawn) {
    const [x1, y1, x2, y2] = track.boxes[track.position.get(shown)];
    pen.strokeStyle = track.colour;
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.font = `600 ${12 * dots}px ${getComputedStyle(document.body).fontFamily}`;
  pen.textBaseline = "middle";
  const score = (track) => track.scores[track.position.get(shown)];
  const taken = [];
  for (const track of drawn.sort((one, other) => score(other) - score(one))) { // the surest choose their place first
    const box = track.boxes[track.position.get(shown)].map((side) => side * scale);
    const label = [`${track.name} ${score(track).toFixed(2)} #${track.id}`, `#${track.id}`];
    label.some((text) => drawLabel(text, track, box, dots, taken)); // where all is full, the colour must do
  }
}

// Above the box, or where that is outside the frame or taken, below or inside it; says whether there was a place.
function drawLabel(text, { colour, ink }, [x1, y1, , y2], dots, taken) {
  const [w, h] = [pen.measureText(text).width + 10 * dots, 18 * dots];
  const x = Math.max(0, Math.min(x1, canvas.width - w));
  const places = [y1 - h, y2, y1, y2 - h].filter((y) => y >= 0 && y + h <= canvas.height);
  const y = places.find((y) =>
    taken.every((other) => x >= other.x + other.w || x + w <= other.x || Math.abs(y - other.y) >= h),
  );
  if (y === undefined) return false;
  taken.push({ x, y, w });
  pen.fillStyle = colour;
  pen.fillRect(x, y, w, h);
  pen.fillStyle = ink;
  pen.fillText(text, x + 5 * dots, y + h / 2 + dots / 2);
  return true;
}

new ResizeObserver(([entry]) => {
  canvas.width = Math.round(entry.contentRect.width * window.devicePixelRatio);
  canvas.height = Math.round(entry.contentRect.height * window.devicePixelRatio);
  draw();
}).observe(byId("stage"));

// Which frame is shown. The browser tells the time of the frame that it presents, which files round; where it does not
// tell, it is what the clock says.
const frameAt = (time) => { // the last that has begun
  let [low, high] = [0, count];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle;
    else high = middle;
  }
  return low;
};

const nearest = (time) => {
  const frame = frameAt(time);
  return frame + 1 < count && times[frame + 1] - time < time - times[frame] ? frame + 1 : frame;
};

if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) {
  const presented = (_, { mediaTime }) => {
    show(nearest(mediaTime));
    video.requestVideoFrameCallback(presented);
  };
  video.requestVideoFrameCallback(presented);
} else {
  const looked = () => {
    if (!video.seeking) show(frameAt(video.currentTime));
    requestAnimationFrame(looked);
  };
  looked();
  video.addEventListener("pause", () => seek(current())); // the clock may be ahead of the picture at which it was stopped
}

// Seeking: to the middle of a frame, so that no rounding leads to its neighbour; one seek at a time, the latest wish next.
// A frame that was sought stays the current one until the video plays, so that one steps on from it even where a browser
// shows its neighbour.
let wanted = null;
let sought = null;

function seek(frame) {
  wanted = Math.max(0, Math.min(frame, count - 1));
  if (sought === null) pursue();
  placed();
}

function pursue() {
  sought = wanted;
  const middle = (times[sought] + times[sought + 1]) / 2;
  video.currentTime = Math.min(middle, Number.isFinite(video.duration) ? video.duration - 0.001 : middle);
}

video.addEventListener("seeked", () => {
  if (wanted !== sought) return pursue();
  sought = null;
  if (!video.paused) wanted = null;
});

video.addEventListener("play", () => {
  if (sought === null) wanted = null;
});

const current = () => wanted ?? shown;

function step(frames) {
  video.pause();
  seek(current() + frames);
}

function playOrPause() {
  if (video.paused) video.play().catch(() => {});
  else video.pause();
}

for (const event of ["play", "pause", "ended"]) {
  video.addEventListener(event, () => {
    byId("play").classList.toggle("playing", !video.paused);
    byId("play").setAttribute("aria-label", video.paused ? "Play" : "Pause");
  });
}

const clock = (seconds, places) => {
  const units = Math.round(seconds * 10 ** places);
  const minute = 60 * 10 ** places;
  return `${Math.floor(units / minute)}:${((units % minute) / 10 ** places).toFixed(places).padStart(places ? places + 3 : 2, "0")}`;
};

// The time line.
const rows = byId("rows");
const ruler = byId("ruler");

function placed() {
  const frame = current();
  const time = clock(times[frame], 2);
  byId("clock").textContent = time;
  byId("frame").textContent = frame;
  ruler.setAttribute("aria-valuenow", frame);
  ruler.setAttribute("aria-valuetext", `frame ${frame}, ${time}`);
  rows.style.setProperty("--at", times[frame] / end);
}

function drawRuler(pixels) {
  const seconds = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600];
  const step = seconds.find((one) => (one / end) * pixels >= 64) ?? end;
  const ticks = [];
  for (let tick = 0; tick * step < end && (tick === 0 || (1 - (tick * step) / end) * pixels > 40); tick++) {
    const mark = document.createElement("span");
    mark.style.left = `${((100 * tick * step) / end).toFixed(3)}%`;
    mark.textContent = clock(tick * step, step < 1 ? 1 : 0);
    ticks.push(mark);
  }
  ruler.replaceChildren(...ticks);
}

// A bar where the track is seen, the higher the surer, about the middle of its lane.
function drawLane(track) {
  const lane = track.parts[1].querySelector("canvas");
  lane.width = Math.round(lane.clientWidth * window.devicePixelRatio);
  lane.height = Math.round(lane.clientHeight * window.devicePixelRatio);
  const brush = lane.getContext("2d");
  brush.fillStyle = track.colour;
  const at = (frame) => Math.round((times[frame] / end) * lane.width);
  for (const [position, frame] of track.frames.entries()) {
    const high = Math.max(0.12, track.scores[position]) * lane.height;
    const x = at(frame);
    brush.fillRect(x, (lane.height - high) / 2, Math.max(1, at(frame + 1) - x), high);
  }
}

new ResizeObserver(([entry]) => {
  drawRuler(entry.contentRect.width);
  tracks.forEach(drawLane);
}).observe(ruler);

// A press on the ruler, or beside bars, seeks, and so does a pull from anywhere; a press on a bar shows its track alone.
const DRAG = 4; // pixels
let press = null;

const frameUnder = (x) => {
  const { left, width: length } = ruler.getBoundingClientRect();
  return frameAt(Math.max(0, (x - left) / length) * end);
};

function barUnder({ target, clientX }) {
  const track = tracks[target.closest("li")?.dataset.track];
  const [from, to] = [frameUnder(clientX - DRAG), frameUnder(clientX + DRAG)];
  return track?.frames.some((frame) => from <= frame && frame <= to) ? track : null;
}

rows.addEventListener("pointerdown", (event) => {
  if (event.button || !event.target.matches("canvas, .ruler")) return;
  const onRuler = event.target === ruler;
  press = { x: event.clientX, pulled: onRuler, bar: onRuler ? null : barUnder(event) };
  rows.setPointerCapture(event.pointerId);
  if (onRuler) seek(frameUnder(event.clientX));
});

rows.addEventListener("pointermove", ({ clientX }) => {
  if (!press) return;
  press.pulled ||= Math.abs(clientX - press.x) > DRAG;
  if (press.pulled) seek(frameUnder(clientX));
});

rows.addEventListener("pointerup", ({ clientX }) => {
  if (press && !press.pulled) {
    if (press.bar) showAlone(press.bar);
    else seek(frameUnder(clientX));
  }
  press = null;
});

rows.addEventListener("pointercancel", () => (press = null));

// The table: a header sorts its column, downwards first where there are numbers.
for (const header of document.querySelectorAll("th[data-column]")) {
  header.querySelector("button").addEventListener("click", () => sort(header));
}

function sort(header) {
  const body = header.closest("table").tBodies[0];
  const cells = [...body.rows].map((row) => [row, row.cells[header.dataset.column]]);
  const named = cells.every(([, cell]) => cell.dataset.value === undefined);
  const [first, second] = named ? ["ascending", "descending"] : ["descending", "ascending"];
  const order = header.getAttribute("aria-sort") === first ? second : first;
  const compared = ([, one], [, other]) =>
    named ? one.textContent.localeCompare(other.textContent, "en", { numeric: true }) : one.dataset.value - other.dataset.value;
  cells.sort((one, other) => (order === "ascending" ? compared(one, other) : compared(other, one)));
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  body.append(...cells.map(([row]) => row));
}

// Hands: what is pressed, and keys.
byId("play").addEventListener("click", playOrPause);
byId("stage").addEventListener("click", playOrPause);
byId("back").addEventListener("click", () => step(-1));
byId("forward").addEventListener("click", () => step(1));
byId("overlays")?.addEventListener("click", toggleOverlays);
byId("all")?.addEventListener("change", () => toggle(tracks));

for (const track of tracks) {
  for (const part of track.parts) part.querySelector(".name").addEventListener("click", () => showAlone(track));
  track.parts[0].querySelector("input").addEventListener("change", () => toggle([track]));
}
for (const button of classes) button.addEventListener("click", () => toggle(ofClass(button)));

function toggleOverlays() {
  drawing = !drawing;
  viewChanged();
}

// After a click with a mouse the keys are the player's again: Space would press once more what was clicked.
document.addEventListener("click", ({ detail }) => {
  if (detail) document.activeElement.blur();
});

const keys = {
  " ": playOrPause,
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  Home: () => step(-count),
  End: () => step(count),
  o: toggleOverlays,
  Escape: () => list(tracks),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === " " && event.target.closest("button, input")) return; // it presses that
  if (event.key.startsWith("Arrow") && event.target.matches(".scroll")) return; // they scroll that
  const numbered = tracks.find((track) => /^\d$/.test(event.key) && track.id === Number(event.key));
  const action = numbered ? () => showAlone(numbered) : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

placed();
viewChanged();
