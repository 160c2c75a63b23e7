// What the page does in the browser alone: the crop frame, the player, copying links.
// Nothing here knows sizes or settings; it shows what the server has computed.
window.wan = (() => {
  // An embedded page of a private window has no storage, and Gradio asks for it: give it one that ends with the page.
  try { window.localStorage.length; } catch {
    const kept = new Map();
    const storage = {
      getItem: name => kept.get(name) ?? null,
      setItem: (name, value) => { kept.set(name, String(value)); },
      removeItem: name => { kept.delete(name); },
      clear: () => kept.clear(),
    };
    Object.defineProperty(window, 'localStorage', {value: storage, configurable: true});
  }

  const still = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

  // ---- the picture: its address, and the part of it that will be kept

  // the address once its box has been left alone for a while: half an address is not to be fetched
  async function settle(address) {
    const box = document.querySelector('#image_url :is(input, textarea)');
    let last;
    while (box && box === document.activeElement && last !== box.value) {
      last = box.value;
      await new Promise(done => setTimeout(done, 700));
    }
    return box ? box.value : address;
  }

  function crop() {
    const line = document.querySelector('#outcome .outcome');
    const picture = document.querySelector('#picture img');
    document.querySelectorAll('#picture .crop').forEach(old => old.remove());
    if (!line || !picture || !line.dataset.crop || !picture.naturalWidth) return;
    const [left, top, right, bottom] = line.dataset.crop.split(',').map(Number);
    const parent = picture.parentElement, frame = document.createElement('div');
    parent.classList.add('cropped');
    const box = shown(picture, parent);
    frame.className = 'crop';
    frame.title = wanWord('This part of the picture becomes the video');
    frame.style.left = `${box.x + box.width * left / 100}px`;
    frame.style.top = `${box.y + box.height * top / 100}px`;
    frame.style.width = `${box.width * (right - left) / 100}px`;
    frame.style.height = `${box.height * (bottom - top) / 100}px`;
    parent.append(frame);
  }

  // where the browser draws the picture inside its element (object-fit: contain), relative to `parent`
  function shown(picture, parent) {
    const element = picture.getBoundingClientRect(), around = parent.getBoundingClientRect();
    const scale = Math.min(element.width / picture.naturalWidth, element.height / picture.naturalHeight);
    const width = picture.naturalWidth * scale, height = picture.naturalHeight * scale;
    return {
      x: element.x - around.x + (element.width - width) / 2,
      y: element.y - around.y + (element.height - height) / 2, width, height,
    };
  }

  // ---- number boxes

  // Gradio's number box drops a comma ("4,5" becomes 45) and moves what is being typed into its bounds: make it a text
  // box, and let the server judge what was typed.
  const NUMBERS = 'input[data-testid=number-input]';

  function toTextBox(box) {
    box.type = 'text';
    box.inputMode = 'decimal';
    box.autocomplete = 'off';
  }

  addEventListener('input', event => {  // in the capturing phase: before Gradio reads the box
    const box = event.target;
    if (!box.matches?.(NUMBERS) || !box.value.includes(',')) return;
    const caret = box.selectionStart;
    box.value = box.value.replaceAll(',', '.');
    box.setSelectionRange(caret, caret);
  }, true);
  addEventListener('blur', event => { if (event.target.matches?.(NUMBERS)) event.stopPropagation(); }, true);
  addEventListener('keydown', event => {
    const direction = {ArrowUp: 1, ArrowDown: -1}[event.key];
    if (!direction || !event.target.matches?.(NUMBERS)) return;
    event.preventDefault();
    step(event.target, direction);
  }, true);

  function step(box, direction) {
    const number = Number(box.value), size = Number(box.step) || 1;
    if (Number.isNaN(number)) return;
    const next = Math.min(Math.max(number + direction * size, box.min), box.max);
    box.value = Number(next.toFixed(4));
    box.dispatchEvent(new Event('input', {bubbles: true}));
  }

  // ---- the player

  let touched = false;  // nothing scrolls before the visitor has done something
  for (const kind of ['pointerdown', 'keydown']) addEventListener(kind, () => { touched = true; }, {once: true});

  function play(element) {
    const video = element.querySelector('video');
    if (!video) return;
    wanRoot.fill();
    wanStatus.done(video.dataset.job);
    wanOutlook.ask();
    if (!still()) video.play().catch(() => {});
    if (touched) video.addEventListener('loadedmetadata', () => intoSight(element), {once: true});
  }

  function intoSight(element) {
    const {top, bottom} = element.getBoundingClientRect();
    if (top >= 0 && (top + bottom) / 2 <= innerHeight) return;
    element.scrollIntoView({block: 'start', behavior: still() ? 'auto' : 'smooth'});
  }

  // ---- copying

  const pageAddress = () => wanRoot.page();
  const quoted = text => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;');

  async function copy(id, text) {
    offer();
    try {
      await navigator.clipboard.writeText(text);  // there is none on http://, but for this machine
    } catch {
      return offerText(text);
    }
    say(id, wanWord('Copied'));
    offer(...hints(id));
  }

  const words = {};

  function say(id, word) {
    const button = document.getElementById(id);
    words[id] ??= button.textContent;
    button.textContent = word;
    setTimeout(() => { button.textContent = words[id]; }, 2500);
  }

  function offer(...parts) {
    document.getElementById('to-copy').replaceChildren(...parts);
  }

  function sentence(text) {
    const line = document.createElement('p');
    line.className = 'small';
    line.textContent = text;
    return line;
  }

  const note = text => text ? offer(sentence(text)) : offer();

  function offerText(text) {
    const field = document.createElement('textarea');
    Object.assign(field, {value: text, readOnly: true, rows: 3});
    field.setAttribute('aria-label', wanWord('To copy'));
    offer(sentence(wanWord('This browser does not let the page copy. The text is selected: copy it yourself.')), field);
    field.focus();
    field.select();
  }

  function offerFile(id, content) {
    const link = document.createElement('a');
    link.className = 'button';
    link.textContent = wanWord('Download the settings');
    link.download = 'wan-settings.json';
    link.href = URL.createObjectURL(new Blob([content], {type: 'application/json'}));
    say(id, wanWord('Too long for a link'));
    offer(sentence(wanWord('These texts are too long for a link. “Settings from a file” reads them back from this file:')), link);
  }

  function hints(id) {
    const address = document.querySelector('#image_url :is(input, textarea)')?.value;
    const isUploaded = document.querySelector('#picture img') && !address;
    return [
      ...(isUploaded ? [sentence(wanWord('An uploaded picture is not in it: who opens it adds their own. A picture given by its web address goes along.'))] : []),
      ...(id === 'copy-embed' ? [sentence(wanWord('For Notion, WordPress and others that take a plain address: {address}', {address: embedAddress}))] : []),
    ];
  }

  let embedAddress = '';

  const copyLink = (query, file) => {
    file ? offerFile('copy-link', file) : copy('copy-link', `${pageAddress()}?${query}`);
  };
  const copyEmbed = (query, file) => {
    if (file) return offerFile('copy-embed', file);
    const theme = document.body.classList.contains('dark') ? '__theme=dark&' : '';
    embedAddress = `${pageAddress()}?embed=1&${theme}${query}`;
    const address = quoted(embedAddress);
    copy('copy-embed', `<iframe src="${address}" width="100%" height="1000" style="border:0" ` +
      'title="Wan 2.2 image to video" allow="autoplay; fullscreen; clipboard-write"></iframe>');
  };

  // A job was sent: from now on a reload shows its settings, not those that the link began with.
  function leaveLink() {
    if (wanRoot.isGuest()) return;
    const stays = [...new URLSearchParams(location.search)].filter(([name]) => name === 'embed' || name.startsWith('__'));
    const rest = new URLSearchParams(stays).toString();
    history.replaceState(history.state, '', location.pathname + (rest ? `?${rest}` : '') + location.hash);
  }

  // ---- a clock for the running job

  const begun = new Map();  // by job: a later rounding never sets the clock back
  setInterval(() => document.querySelectorAll('[data-elapsed]').forEach(clock => {
    const job = clock.closest('.panel')?.dataset.job, said = Date.now() - 1000 * clock.dataset.elapsed;
    begun.set(job, Math.min(begun.get(job) ?? said, said));
    const seconds = Math.max(0, Math.floor((Date.now() - begun.get(job)) / 1000));
    clock.textContent = wanWord('{clock} so far', {clock: `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`});
  }), 250);

  new MutationObserver(() => {
    document.querySelectorAll(`${NUMBERS}[type=number]`).forEach(toTextBox);
    for (const box of document.querySelectorAll('.upload-container[aria-label]:not([data-named])')) {
      box.dataset.named = 'yes';  // Gradio's name for it has none of the words that are seen
      box.setAttribute('aria-label', box.textContent.trim() || box.getAttribute('aria-label'));
    }
    const picture = document.querySelector('#picture img');
    if (picture && !picture.dataset.watched) {
      picture.dataset.watched = 'yes';
      picture.addEventListener('load', crop);
      new ResizeObserver(crop).observe(picture);
    }
  }).observe(document, {childList: true, subtree: true});

  return {settle, crop, play, note, copyLink, copyEmbed, leaveLink};
})();
