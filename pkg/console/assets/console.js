// Makes the pages quicker. Each of them works without it.
document.documentElement.classList.add('js');

const say = text => { const said = document.getElementById('said'); if (said) said.textContent = text; };

// Shows times in the viewer's zone and language, with UTC as the title.
const near = new Intl.RelativeTimeFormat(document.documentElement.lang, {numeric: 'auto'});
const utc = new Intl.DateTimeFormat(document.documentElement.lang, {dateStyle: 'long', timeStyle: 'medium', hourCycle: 'h23', timeZone: 'UTC'});
const far = new Intl.DateTimeFormat(document.documentElement.lang, {dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23'});
const steps = [['second', 60], ['minute', 60], ['hour', 24], ['day', 7]];

function speak(root = document) {
  for (const time of root.querySelectorAll('time')) {
    const at = new Date(time.dateTime);
    let ago = (at - Date.now()) / 1000, words = '';
    for (const [unit, most] of steps) {
      if (Math.abs(ago) < most) { words = near.format(Math.trunc(ago), unit); break; }
      ago /= most;
    }
    time.textContent = words || far.format(at);
    time.title ||= utc.format(at) + ' UTC';
  }
}
speak();
setInterval(speak, 30000);

// Searches while one types: the server's list replaces the one shown.
const search = document.querySelector('form[data-live]');
if (search) {
  let timer, asked;
  const look = async () => {
    const results = document.getElementById(search.dataset.live);
    const query = new URLSearchParams([...new FormData(search)].filter(([name, value]) => name !== 'q' || value.trim()));
    const url = search.action + (query.size ? '?' + query : '');
    asked?.abort();
    asked = new AbortController();
    results.classList.add('busy');
    try {
      const answer = await fetch(url, {signal: asked.signal});
      if (answer.status === 401) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const found = page.getElementById(results.id);
      if (!found) return search.submit();
      results.replaceChildren(...found.childNodes);
      history.replaceState(null, '', url);
      for (const kept of document.querySelectorAll('[data-search]')) kept.value = query.get('q') ?? '';
      document.title = page.title;
      speak(results);
      say(results.querySelector('[data-say]')?.firstChild.textContent.trim() ?? '');
      results.classList.remove('busy');
    } catch (fault) {
      if (fault.name !== 'AbortError') search.submit();
    }
  };
  search.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(look, 200); });
  search.addEventListener('submit', event => { event.preventDefault(); clearTimeout(timer); look(); });
}

document.addEventListener('change', event => {
  if (!event.target.matches('[data-tick-all], [name=id]')) return;
  const boxes = [...document.querySelectorAll('tbody input[name=id]')];
  if (event.target.name !== 'id') for (const box of boxes) box.checked = event.target.checked;
  const said = document.getElementById('chosen'), n = boxes.filter(box => box.checked).length;
  said.textContent = n ? said.dataset.words.replace('%d', n) : '';
});

document.addEventListener('submit', event => {
  const form = event.target, question = form.dataset.confirm;
  if (!question) return;
  if (confirm(question)) form.elements.confirmed.value = '1';
  else event.preventDefault();
});

// Asks before a click on a link loses unsaved changes.
const guarded = document.querySelector('form[data-guard]');
if (guarded) {
  let changed = false;
  const change = () => { changed = true; document.getElementById('unsaved').textContent = guarded.dataset.guard; };
  if (guarded.dataset.changed) change();
  guarded.addEventListener('input', event => { if (event.target.name !== 'name-to-match') change(); });
  guarded.addEventListener('submit', () => { changed = false; });
  addEventListener('beforeunload', event => { if (changed) event.preventDefault(); });
}

// Shows while one types whether a pattern matches a name, by the server's rule.
for (const part of document.querySelectorAll('[data-models]')) {
  const [all, list, name, chips] = ['[name=allModels]', '[name=models]', '[name=name-to-match]', '#chips'].map(s => part.querySelector(s));
  let timer;
  const show = async () => {
    const body = new URLSearchParams({models: list.value, 'name-to-match': name.value});
    if (all.checked) body.set('allModels', 'on');
    const answer = await fetch(part.dataset.models, {method: 'POST', body}).catch(() => null);
    if (answer?.ok) chips.innerHTML = await answer.text();
    else chips.textContent = part.dataset.away;
  };
  if (!name) continue;
  name.addEventListener('keydown', event => { if (event.key === 'Enter') { event.preventDefault(); show(); } });
  for (const field of [all, list, name]) field.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(show, 200); });
}

document.querySelector('[data-focus]')?.focus();

// What was done is said once, and not again when the page is opened again.
const here = new URL(location);
if (here.searchParams.has('done')) {
  here.searchParams.delete('done');
  history.replaceState(null, '', here);
}

document.addEventListener('click', async event => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const copied = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(copied.textContent);
    button.textContent = button.dataset.copied;
    say(button.dataset.copied);
  } catch { // no secure connection, or not allowed: it is one key away
    getSelection().selectAllChildren(copied);
  }
});

// A secret leaves with its page: the browser's page cache keeps no copy.
const secret = document.querySelector('[data-secret]');
if (secret) addEventListener('pagehide', () => { secret.textContent = ''; });

for (const [part, module] of [['#live', 'live'], ['#import', 'import']]) {
  const found = document.querySelector(part);
  if (found) import(found.dataset.module).then(loaded => loaded.default(found, {say, speak}));
}
