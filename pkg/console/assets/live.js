// The change feed as it happens, filtered by user, actor and kind.
export default function live(state, {say, speak}) {
  const feed = document.getElementById('feed');
  const filter = document.getElementById('feed-filter');
  const words = state.dataset;
  const source = new EventSource(words.feed);
  source.onopen = () => { state.textContent = words.live; };
  source.onerror = () => { state.textContent = source.readyState === EventSource.CLOSED ? words.ended : words.lost; };
  source.onmessage = message => {
    const event = JSON.parse(message.data);
    const kind = event.type.slice(event.type.lastIndexOf('.') + 1);
    const {user, actor, type} = Object.fromEntries(new FormData(filter));
    const by = event.actor ?? '', name = event.data.user?.tag ?? event.data.group?.name ?? event.subject;
    const about = user.trim(), from = actor.trim();
    const subject = about === words.asked && words.about || about;
    if (about && subject !== event.subject && about.toLowerCase().replace(/^tag:/, '') !== event.data.user?.tag || type && kind !== type || from && by !== from) return;
    feed.prepend(entry(event, kind, name, by, words));
    speak(feed);
    say([words[kind], event.data.group && words.group, name, by && words.by, by].join(' '));
    document.getElementById('feed-empty')?.remove();
    while (feed.children.length > 200) feed.lastElementChild.remove();
  };
}

function entry(event, kind, name, by, words) {
  const item = document.createElement('li'), line = document.createElement('p');
  const what = document.createElement('b'), link = document.createElement('a'), code = document.createElement('code');
  what.textContent = words[kind];
  code.textContent = name;
  code.title = event.subject;
  link.href = event.data.group ? words.users.replace(/\/$/, '?group=') + event.subject : words.users + event.subject;
  link.append(code);
  const time = document.createElement('time');
  time.dateTime = event.time;
  line.append(what, event.data.group ? ` ${words.group} ` : ' ', link, ' ');
  if (by) {
    const who = document.createElement('b');
    who.textContent = by;
    line.append(words.by, ' ', who, ' ');
  }
  line.append(time);
  item.append(line);
  if (event.data.changed?.length && kind === 'updated') {
    const changed = document.createElement('p');
    changed.className = 'small';
    for (const field of event.data.changed) {
      const name = document.createElement('code');
      name.textContent = field;
      changed.append(name, ' ');
    }
    item.append(changed);
  }
  return item;
}
