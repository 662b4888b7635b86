// What the page computes: order and sides, answers, grey values, view and window. It touches neither document nor
// storage, so that tests run it without a browser.

// ---- order and sides ---------------------------------------------------------------------------------------------

// Uniform numbers in [0, 1) from a seed of 32 bit, by three shifts (Marsaglia 2003).
function seededRandom(seed) {
  let state = (seed >>> 0) || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 16; i++) next(); // small seeds start alike
  return next;
}

function shuffled(items, random) {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

// The least distance between two trials of the same case.
function leastDistance(trials) {
  const last = new Map();
  let least = trials.length;
  trials.forEach((trial, i) => {
    if (last.has(trial.group)) least = Math.min(least, i - last.get(trial.group));
    last.set(trial.group, i);
  });
  return least;
}

// Of 200 random orders the one in which a case that comes again comes latest.
function readingOrder(trials, random) {
  let best = shuffled(trials, random);
  for (let i = 1; i < 200; i++) {
    const other = shuffled(trials, random);
    if (leastDistance(other) > leastDistance(best)) best = other;
  }
  return best.map((trial) => trial.id);
}

// ---- the answers of a reader -------------------------------------------------------------------------------------

function newSession(study, reader, seed) {
  const random = seededRandom(seed);
  const swapped = random() < 0.5;
  const order = readingOrder(study.trials, random);
  return { study: study.study, content: study.content, reader, seed, swapped, order, at: 0, answers: {} };
}

// The session that a text from the browser's storage holds; null where it is broken or another study's.
function restoredSession(study, reader, text) {
  let kept;
  try {
    kept = JSON.parse(text);
  } catch {
    return null;
  }
  if (!kept || kept.study !== study.study || kept.content !== study.content || kept.reader !== reader) return null;
  if (!Number.isInteger(kept.seed) || typeof kept.answers !== 'object' || kept.answers === null) return null;
  const session = newSession(study, reader, kept.seed);
  for (const trial of study.trials) {
    const own = kept.answers[trial.id];
    if (!own || typeof own.values !== 'object' || own.values === null) continue;
    const values = {};
    for (const row of questionRows(study, trial)) {
      const value = own.values[row.id];
      if (Number.isInteger(value) && value >= 0 && value < row.labels.length) values[row.id] = value;
    }
    const seconds = Number.isFinite(own.seconds) && own.seconds > 0 ? own.seconds : 0;
    session.answers[trial.id] = { values, seconds };
  }
  if (Number.isInteger(kept.at) && kept.at >= 0 && kept.at < session.order.length) session.at = kept.at;
  return session;
}

// The images of a trial from left to right.
function shownImages(trial, session) {
  return session.swapped ? [...trial.images].reverse() : [...trial.images];
}

// What is asked of a trial, a row each: of a rating one for each image. Answers are numbers of labels, from 0.
function questionRows(study, trial) {
  const rows = [];
  for (const question of study.questions) {
    if (question.kind === 'preference') {
      const labels = ['A is better', 'no difference', 'B is better'];
      rows.push({ id: question.id, text: question.text, panel: '', labels });
    } else {
      trial.images.forEach((_, i) => {
        const panel = trial.images.length > 1 ? 'AB'[i] : '';
        rows.push({ id: `${question.id}-${i}`, text: question.text, panel, labels: question.labels });
      });
    }
  }
  return rows;
}

function answersOf(session, trialId) {
  if (!session.answers[trialId]) session.answers[trialId] = { values: {}, seconds: 0 };
  return session.answers[trialId];
}

function isAnswered(study, session, trial) {
  const own = session.answers[trial.id];
  return Boolean(own) && questionRows(study, trial).every((row) => row.id in own.values);
}

function countAnswered(study, session) {
  return study.trials.filter((trial) => isAnswered(study, session, trial)).length;
}

// The row to mark: the first without an answer, from a row on and then from the top; the row itself when all have one.
function rowToAnswer(rows, values, from) {
  for (let i = 0; i < rows.length; i++) {
    const row = (from + i) % rows.length;
    if (!(rows[row].id in values)) return row;
  }
  return Math.min(from, rows.length - 1);
}

// What is saved as a file: the trials that are answered in full, in the order of reading.
function resultOf(study, session) {
  const known = new Map(study.trials.map((trial) => [trial.id, trial]));
  const trials = session.order.map((id) => known.get(id)).filter((trial) => isAnswered(study, session, trial));
  const answers = trials.map((trial) => {
    const own = session.answers[trial.id];
    const values = {};
    for (const question of study.questions) {
      values[question.id] = question.kind === 'preference'
        ? own.values[question.id] - 1 // -1: A, 0: no difference, 1: B
        : trial.images.map((_, i) => own.values[`${question.id}-${i}`] + 1);
    }
    const seconds = Math.round(10 * own.seconds) / 10;
    return { trial: trial.id, shown: shownImages(trial, session), seconds, values };
  });
  return {
    format: study.result_format,
    study: study.study,
    content: study.content,
    reader: session.reader,
    complete: answers.length === study.trials.length,
    answers,
  };
}

// ---- grey values -------------------------------------------------------------------------------------------------

// The whole numbers of an image from their differences, of which all low bytes come first and then all high bytes. An
// odd number stands for a negative difference.
function unpackedCodes(bytes) {
  const count = bytes.length / 2;
  const codes = new Uint16Array(count);
  let last = 0;
  for (let i = 0; i < count; i++) {
    const folded = bytes[i] | (bytes[i + count] << 8);
    last += (folded >>> 1) ^ -(folded & 1);
    codes[i] = last; // modulo 65536
  }
  return codes;
}

// The pixel of each whole number, as canvases have it: opaque, red, green and blue alike.
function greyTable(scale, window) {
  const table = new Uint8ClampedArray(4 * 65536);
  const low = window.center - window.width / 2;
  for (let code = 0; code < 65536; code++) {
    const share = (scale.low + scale.step * code - low) / window.width;
    const grey = 255 * (scale.inverted ? 1 - share : share); // the array rounds and clips
    table.fill(grey, 4 * code, 4 * code + 3);
    table[4 * code + 3] = 255;
  }
  return new Uint32Array(table.buffer);
}

// ---- window and view ---------------------------------------------------------------------------------------------

// A drag by pixels: to the right wider, up brighter (a lower centre, or a higher one where low values are bright).
function draggedWindow(window, right, down, scale) {
  const width = Math.min(Math.max(window.width * Math.exp(right / 250), 4 * scale.step), 131072 * scale.step);
  const center = window.center + (scale.inverted ? -1 : 1) * down * window.width / 400;
  return { center, width };
}

function windowText(window) {
  const digits = window.width >= 20 ? 0 : Math.min(6, Math.ceil(2 - Math.log10(window.width)));
  return `C ${window.center.toFixed(digits)}  W ${window.width.toFixed(digits)}`;
}

// A view is the place at the centre of the panel, in widths of the image from its left and top edge, and the zoom.
function firstView(imageHeight) {
  return { x: 0.5, y: imageHeight / 2, zoom: 1 };
}

// Pixels of the panel for a width of the image, when at zoom 1 the whole image fits.
function viewScale(view, panel, imageHeight) {
  return view.zoom * Math.min(panel.width, panel.height / imageHeight);
}

// Zoomed so that what lies under a point, in pixels from the panel's centre, stays there.
function zoomedView(view, factor, point, panel, imageHeight) {
  const zoom = Math.min(Math.max(view.zoom * factor, 0.5), 40);
  const before = viewScale(view, panel, imageHeight);
  const after = viewScale({ ...view, zoom }, panel, imageHeight);
  const moved = { x: view.x + point.x / before - point.x / after, y: view.y + point.y / before - point.y / after, zoom };
  return keptInside(moved, imageHeight);
}

function movedView(view, right, down, panel, imageHeight) {
  const scale = viewScale(view, panel, imageHeight);
  return keptInside({ ...view, x: view.x - right / scale, y: view.y - down / scale }, imageHeight);
}

// The centre of the panel stays on the image, so that it can't be lost.
function keptInside(view, imageHeight) {
  const x = Math.min(Math.max(view.x, 0), 1);
  const y = Math.min(Math.max(view.y, 0), imageHeight);
  return { ...view, x, y };
}
