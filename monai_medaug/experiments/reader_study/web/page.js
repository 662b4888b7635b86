// The page: it unpacks images, asks, listens to keys, and keeps the answers in the browser.

const byId = (id) => document.getElementById(id);
const study = JSON.parse(byId('study').textContent);
const trialById = new Map(study.trials.map((trial) => [trial.id, trial]));
const viewer = new ImageViewer(byId('panels'), showWindow);
const unpacked = new Map(); // the images of a few trials
let session = null;
let trial = null;
let rows = [];
let marked = 0;
let since = 0; // when the time that is not yet counted began
let entered = 0; // how often a trial was entered: images that come late are for another

// ---- images ------------------------------------------------------------------------------------------------------

function unpackedImage(id) {
  if (!unpacked.has(id)) unpacked.set(id, unpackPixels(id));
  return unpacked.get(id);
}

async function unpackPixels(id) {
  const text = atob(byId(`pixels-${id}`).textContent);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  const codes = unpackedCodes(new Uint8Array(await new Response(stream).arrayBuffer()));
  const described = study.images[id];
  if (codes.length !== described.rows * described.columns) throw new Error('an image is incomplete');
  return { ...described, codes };
}

// Images of this trial and the next stay; the others are unpacked again when they come again.
function forgetOthers(ids) {
  for (const id of unpacked.keys()) if (!ids.includes(id)) unpacked.delete(id);
}

// ---- storage -----------------------------------------------------------------------------------------------------

function storageKey(reader) {
  return `reader-study ${study.study} ${study.content.slice(0, 16)} ${reader}`;
}

function keep() {
  try {
    localStorage.setItem(storageKey(session.reader), JSON.stringify(session));
  } catch {
    warn('This browser does not keep answers: do not close the page before you have saved the result.');
  }
}

function recalled(reader) {
  try {
    const text = localStorage.getItem(storageKey(reader));
    return text === null ? null : restoredSession(study, reader, text);
  } catch {
    return null;
  }
}

function warn(text) {
  byId('warning').textContent = text;
  byId('warning').hidden = false;
}

function saveResult() {
  countTime();
  const text = `${JSON.stringify(resultOf(study, session), null, 1)}\n`;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  link.download = `reader_${session.reader}_${study.study.slice(0, 6)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Time counts while the page is in view.
function countTime() {
  const now = performance.now();
  if (session && trial && !document.hidden) answersOf(session, trial.id).seconds += (now - since) / 1000;
  since = now;
}

// ---- a trial -----------------------------------------------------------------------------------------------------

async function enter(at) {
  countTime();
  session.at = at;
  trial = trialById.get(session.order[at]);
  keep();
  const turn = ++entered;
  rows = questionRows(study, trial);
  marked = rowToAnswer(rows, answersOf(session, trial.id).values, 0);
  viewer.clear();
  buildQuestions();
  showPlace();
  try {
    const ids = shownImages(trial, session);
    const images = await Promise.all(ids.map(unpackedImage));
    if (turn !== entered) return;
    viewer.show(images, trial.scale);
    since = performance.now();
    const next = session.order[at + 1] ? trialById.get(session.order[at + 1]).images : [];
    forgetOthers([...ids, ...next]);
    next.forEach((id) => unpackedImage(id).catch(() => {}));
  } catch (error) {
    warn(`The images of this case cannot be shown (${error.message}). Please tell whoever runs the study.`);
  }
}

function showPlace() {
  byId('place').textContent = `Case ${session.at + 1} of ${session.order.length}`;
  byId('progress').max = study.trials.length;
  byId('progress').value = countAnswered(study, session);
  byId('reading-of').textContent = `reader ${session.reader}`;
  byId('previous').disabled = session.at === 0;
  byId('next').disabled = !isAnswered(study, session, trial);
}

function showWindow() {
  byId('window-text').textContent = windowText(viewer.window);
  const same = Object.entries(study.windows).find(
    ([, [center, width]]) => center === viewer.window.center && width === viewer.window.width,
  );
  byId('preset').value = same ? same[0] : '';
}

function buildQuestions() {
  const boxes = rows.map((row, i) => {
    const box = document.createElement('fieldset');
    const text = document.createElement('span');
    text.className = 'text';
    text.id = `text-${row.id}`;
    text.textContent = row.text;
    if (row.panel) {
      const letter = document.createElement('b');
      letter.textContent = row.panel;
      text.append(letter);
    }
    box.setAttribute('role', 'radiogroup');
    box.setAttribute('aria-labelledby', text.id);
    box.append(text);
    row.labels.forEach((name, value) => {
      const label = document.createElement('label');
      const input = document.createElement('input');
      Object.assign(input, { type: 'radio', name: row.id, value });
      input.addEventListener('change', () => answer(i, value));
      const key = document.createElement('kbd');
      key.textContent = value + 1;
      label.append(input, key, name);
      box.append(label);
    });
    return box;
  });
  byId('questions').replaceChildren(...boxes);
  showAnswers();
}

function showAnswers() {
  const { values } = answersOf(session, trial.id);
  [...byId('questions').children].forEach((box, i) => {
    box.className = i === marked ? 'question marked' : 'question';
    if (i === marked) box.scrollIntoView({ block: 'nearest' });
    box.querySelectorAll('input').forEach((input, value) => {
      input.checked = values[rows[i].id] === value;
    });
  });
}

function answer(row, value) {
  if (value >= rows[row].labels.length) return;
  const { values } = answersOf(session, trial.id);
  values[rows[row].id] = value;
  marked = rowToAnswer(rows, values, row);
  countTime();
  keep();
  showAnswers();
  showPlace();
}

function goOn() {
  if (!isAnswered(study, session, trial)) return;
  const left = session.order.findIndex((id) => !isAnswered(study, session, trialById.get(id)));
  if (session.at + 1 < session.order.length) {
    enter(session.at + 1);
  } else if (left >= 0) {
    enter(left); // an answer was lost, in another tab or a broken storage
  } else {
    countTime();
    keep();
    trial = null;
    show('end');
  }
}

function show(id) {
  for (const section of document.querySelectorAll('section')) section.hidden = section.id !== id;
}

// ---- keys and buttons --------------------------------------------------------------------------------------------

const MOVES = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

function pressed(event) {
  if (!trial || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target instanceof HTMLSelectElement) return;
  // a button that has the focus takes Enter for itself
  if (event.key === 'Enter' && event.target instanceof HTMLButtonElement) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // a key that is held answers one question and goes on by one case
  if (event.repeat && !event.shiftKey && (/^[1-9]$/.test(key) || /^(Enter|Arrow)/.test(key))) return;
  if (event.shiftKey && MOVES[key]) viewer.move(...MOVES[key]);
  else if (/^[1-9]$/.test(key)) answer(marked, Number(key) - 1);
  else if (key === 'ArrowDown' || key === 'ArrowUp') mark(marked + (key === 'ArrowDown' ? 1 : -1));
  else if (key === 'Enter' || key === 'ArrowRight') goOn();
  else if (key === 'ArrowLeft') goBack();
  else if (key === '+' || key === '=') viewer.zoom(1.25);
  else if (key === '-' || key === '−') viewer.zoom(0.8);
  else if (key === '0') viewer.reset();
  else if (key === 'w' || key === 'n') viewer.changeWindow(key === 'w' ? 25 : -25, 0);
  else if (key === 'b' || key === 'd') viewer.changeWindow(0, key === 'b' ? -20 : 20);
  else return;
  event.preventDefault();
}

function mark(row) {
  marked = Math.min(Math.max(row, 0), rows.length - 1);
  showAnswers();
}

function goBack() {
  if (session.at > 0) enter(session.at - 1);
}

function begin(event) {
  event.preventDefault();
  const reader = byId('reader').value;
  byId('warning').hidden = true;
  session = recalled(reader) || newSession(study, reader, crypto.getRandomValues(new Uint32Array(1))[0]);
  show('reading');
  enter(session.at);
}

function leave() {
  countTime();
  keep();
  trial = null;
  show('start');
}

function start() {
  const count = study.trials.length;
  byId('title').textContent = study.title;
  const times = study.layout === 'side by side' ? 'pairs of images' : 'images';
  const asked = study.questions.length === 1 ? 'one question' : `${study.questions.length} questions`;
  byId('facts').textContent = `${count} ${times}, ${asked} each. Some come twice.`;
  byId('instructions').textContent = study.instructions;
  byId('preset-label').hidden = Object.keys(study.windows).length === 0;
  byId('preset').append(new Option('own', ''));
  for (const name of Object.keys(study.windows)) byId('preset').append(new Option(name.replaceAll('_', ' '), name));
  byId('preset').addEventListener('change', (event) => {
    if (study.windows[event.target.value]) viewer.setWindow(...study.windows[event.target.value]);
    event.target.blur();
  });
  byId('begin').addEventListener('submit', begin);
  byId('reset').addEventListener('click', () => viewer.reset());
  byId('save').addEventListener('click', saveResult);
  byId('save-all').addEventListener('click', saveResult);
  byId('leave').addEventListener('click', leave);
  byId('previous').addEventListener('click', goBack);
  byId('next').addEventListener('click', goOn);
  byId('back').addEventListener('click', () => {
    show('reading');
    enter(0);
  });
  document.addEventListener('keydown', pressed);
  document.addEventListener('visibilitychange', () => {
    // the time until now counts when the page goes out of view, none when it comes back
    if (document.hidden && session && trial) {
      answersOf(session, trial.id).seconds += (performance.now() - since) / 1000;
      keep();
    }
    since = performance.now();
  });
  window.addEventListener('storage', (event) => {
    // the same reader goes on in another tab: its answers count
    if (!session || event.key !== storageKey(session.reader) || event.newValue === null) return;
    const other = restoredSession(study, session.reader, event.newValue);
    if (!other) return;
    const sameSides = other.seed === session.seed;
    session = { ...other, at: sameSides ? session.at : other.at };
    if (!trial) return;
    if (sameSides) {
      showAnswers();
      showPlace();
    } else {
      enter(session.at); // both began at once: the other's order and sides count
    }
  });
  if (typeof DecompressionStream === 'undefined') {
    byId('facts').textContent = 'This browser is too old for this page: it cannot unpack the images.';
    byId('begin').hidden = true;
  }
}

start();
