// An import with progress: the file is streamed, and each line's answer is shown as it comes.
const shown = 500;

export default function importer(form, {say}) {
  const state = document.getElementById('import-state');
  form.addEventListener('submit', event => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    // What was judged is what is applied, whatever the form says by then.
    if (file) run(form.dataset, state, file, {mode: form.elements.mode.value, match: form.elements.match.value}, true, say);
  });
}

// run judges a file or, with a key, applies it. Applied again with the same key, it goes on where it was torn.
async function run(words, state, file, choice, dryRun, say, key) {
  const query = new URLSearchParams({...choice, results: 'failed'});
  if (dryRun) query.set('dryRun', 'true');
  const part = document.createElement('section'), title = document.createElement('h2'), bar = document.createElement('progress'), said = document.createElement('p');
  part.className = 'card stack';
  title.textContent = words.reading;
  bar.max = file.size || 1;
  bar.setAttribute('aria-label', words.reading);
  part.append(title, bar, said);
  state.replaceChildren(part);
  const headers = {'Content-Type': await kindOf(file)};
  const stay = event => event.preventDefault();
  if (!dryRun) addEventListener('beforeunload', stay);
  said.ariaLive = 'off'; // the number grows too fast to be read out
  if (!dryRun) headers['Idempotency-Key'] = key;
  const apply = key => {
    const button = document.createElement('button');
    button.className = 'main';
    button.textContent = words.apply;
    button.addEventListener('click', () => run(words, state, file, choice, false, say, key));
    part.append(button);
  };
  const failed = [];
  let summary;
  try {
    const answer = await fetch(words.stream + '?' + query, {method: 'POST', headers, body: file});
    if (answer.status === 401) throw {detail: words.out};
    if (!answer.ok) throw await answer.json().catch(() => ({detail: words.torn}));
    for await (const line of lines(answer.body)) {
      if (line.progress) {
        bar.value = line.progress.bytes;
        said.textContent = words.wordlines.replace('%s', line.progress.lines.toLocaleString());
      } else if (line.summary) summary = line.summary;
      else if (line.status >= 400) failed.push(line);
    }
    if (!summary) throw {detail: words.torn};
  } catch (fault) {
    bar.remove();
    said.className = 'notice bad';
    said.setAttribute('role', 'alert');
    said.ariaLive = null;
    said.textContent = [fault.detail ?? words.torn, ...(fault.details ?? []).map(one => one.field + ' ' + one.message)].join(' · ');
    if (!dryRun) apply(key);
    return;
  } finally {
    removeEventListener('beforeunload', stay);
  }
  bar.remove();
  title.textContent = dryRun ? words.judged : words.applied;
  said.remove();
  part.append(counts(words, summary));
  if (summary.problem) { // it stopped early: one that changes goes on by the same key, one that judges begins anew
    const stopped = document.createElement('p');
    stopped.className = 'notice bad';
    stopped.setAttribute('role', 'alert');
    stopped.textContent = words.stopped.replace('%d', summary.doneThrough ?? 0).replace('%s', summary.problem.detail);
    part.append(stopped);
  }
  if (failed.length) part.append(problems(words, failed), await takeAway(words, file, failed).catch(() => words.wordunread));
  if (summary.problem) {
    if (!dryRun) apply(key);
  } else if (dryRun) apply(crypto.randomUUID?.() ?? String(Math.random()).slice(2) + Date.now());
  say(title.textContent);
  part.tabIndex = -1;
  part.focus();
}

async function kindOf(file) {
  if (/\.csv$/i.test(file.name)) return 'text/csv';
  if (/\.(ndjson|jsonl|json)$/i.test(file.name)) return 'application/x-ndjson';
  return (await file.slice(0, 64).text()).trim().startsWith('{') ? 'application/x-ndjson' : 'text/csv';
}

async function* lines(body) {
  let rest = '';
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const {value, done} = await reader.read();
    if (done) break;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
  if (rest.trim()) yield JSON.parse(rest);
}

function counts(words, summary) {
  const list = document.createElement('dl');
  list.className = 'counts';
  for (const name of ['created', 'updated', 'unchanged', 'deleted', 'failed']) {
    const term = document.createElement('dt'), count = document.createElement('dd');
    term.textContent = words['word' + name];
    count.textContent = (summary[name] ?? 0).toLocaleString();
    list.append(term, count);
  }
  return list;
}

function problems(words, failed) {
  const region = document.createElement('div'), table = document.createElement('table'), head = table.createTHead().insertRow(), body = table.createTBody();
  region.className = 'scroll';
  region.tabIndex = 0;
  region.setAttribute('role', 'region');
  region.setAttribute('aria-label', words.wordproblems);
  table.className = 'plain lines';
  for (const word of [words.wordline, words.wordproblem]) {
    const cell = document.createElement('th');
    cell.scope = 'col';
    cell.textContent = word;
    head.append(cell);
  }
  for (const one of failed.slice(0, shown)) {
    const row = body.insertRow(), line = document.createElement('th');
    row.className = 'failed';
    line.scope = 'row';
    line.textContent = one.line;
    row.append(line);
    const details = one.problem?.details ?? [];
    row.insertCell().textContent = details.length ? details.map(d => d.field + ' ' + d.message).join('; ') : one.problem?.detail ?? one.status;
  }
  region.append(table);
  if (failed.length > shown) table.createCaption().textContent = words.wordmore.replace('%d', (failed.length - shown).toLocaleString());
  return region;
}

// takeAway makes a link that downloads the failed lines as a file.
async function takeAway(words, file, failed) {
  const type = await kindOf(file), csv = type === 'text/csv';
  const link = document.createElement('a');
  link.className = 'button';
  link.download = csv ? 'failed.csv' : 'failed.ndjson';
  link.href = URL.createObjectURL(new Blob(await pick(file, csv, new Set(failed.map(one => one.line))), {type}));
  link.textContent = words.wordtake;
  return link;
}

// pick returns the records that begin on wanted lines, byte for byte, and the header of CSV. It holds a piece of the
// file at a time: a file may be longer than a string can be.
async function pick(file, csv, wanted) {
  const picked = [], reader = file.stream().getReader();
  let line = 1, keep = csv || wanted.has(1), last = feed;
  let at = cellStart, mark = await marked(file) ? 3 : 0;
  for (;;) {
    const {value: bytes, done} = await reader.read();
    if (done) break;
    const parts = [];
    let from = 0;
    for (let i = 0; i < bytes.length; i++) {
      last = bytes[i];
      if (mark) mark--;
      else if (csv) at = after(at, last);
      if (last !== feed) continue;
      line++;
      const next = at === quoted ? keep : wanted.has(line);
      if (keep && !next) parts.push(bytes.subarray(from, i + 1));
      if (!keep) from = i + 1;
      keep = next;
    }
    if (keep) parts.push(bytes.subarray(from));
    if (parts.length) picked.push(new Blob(parts));
  }
  if (keep && last !== feed) picked.push('\n');
  return picked;
}

// Where a byte of CSV is, as far as quotes matter: one opens a cell only at its start. The API cuts files by the same rule.
const cellStart = 0, unquoted = 1, quoted = 2, quoteSeen = 3;
const quote = 34, comma = 44, feed = 10;

function after(at, byte) {
  if (at === quoted) return byte === quote ? quoteSeen : quoted;
  if (byte === quote && at !== unquoted) return quoted;
  return byte === comma || byte === feed ? cellStart : unquoted;
}

// marked says that a file begins with a byte order mark.
async function marked(file) {
  return String(new Uint8Array(await file.slice(0, 3).arrayBuffer())) === '239,187,191';
}
