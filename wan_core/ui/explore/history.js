// The row of this browser's clips and grids, newest first, under the clip: play, restore, compare, star, filter, delete.
// Ids come from the store, what they are from the server (`learn`); the view keeps the cards that it has.
window.wanExplore ??= {};
(() => {
  const store = wanExplore.history;
  const IN_ROW = 12;  // before “Show all”
  const SOON_MS = 50, AGAIN_MS = 2500, TRIES = 4;
  const MARKUP = `<h3>${wanWord('Your clips and grids')}</h3>
    <p class="small">${wanWord('Click a clip to play it and to get its settings back. Tick two or more to compare them.')}</p>
    <div class="history-tools">
      <label class="starred"><input type="checkbox" data-filter="starred"> ${wanWord('Starred')}</label>
      <label>${wanWord('Changed')} <select data-filter="field" aria-label="${wanWord('Only clips that change this setting')}"></select></label>
      <label>${wanWord('Engine')} <select data-filter="engine" aria-label="${wanWord('Only clips of this engine')}"></select></label>
      <input type="search" data-filter="text" placeholder="${wanWord('Search prompts and settings')}" aria-label="${wanWord('Search prompts and settings')}">
      <button type="button" data-do="all" aria-expanded="false">${wanWord('Show all')}</button>
      <button type="button" data-do="clear">${wanWord('Delete all without a star')}</button>
      <button type="button" data-do="forget" title="${wanWord('Remove every trace of your visits from this browser')}">${wanWord('Forget this visit')}</button>
    </div>
    <div class="compare-place"></div><div class="strip" role="list"></div>`;

  let view = null, facts = new Map();

  class View {
    #cards = new Map();  // id → card
    #chosen = [];
    #open = null;

    /** `ask(items)` fetches facts; `act(kind, id)` opens a clip or a grid. */
    constructor(element, ask, act) {
      Object.assign(this, {element, ask, act});
      element.innerHTML = MARKUP;
      element.hidden = true;
      [this.list, this.place] = ['.strip', '.compare-place'].map(each => element.querySelector(each));
      element.addEventListener('click', event => this.#click(event));
      element.addEventListener('change', event => this.#changed(event));
      element.addEventListener('input', event => { if (event.target.dataset.filter) this.show(); });
      store.addEventListener('change', () => this.refresh());
      this.refresh();
    }

    refresh() {
      this.show();
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.#ask(TRIES), SOON_MS);
    }

    /** Again after a while: the page's events may not be connected yet. */
    #ask(tries) {
      const items = store.items;
      if (!tries || items.every(item => facts.has(item.id))) return;
      this.ask(items.map(({id, kind}) => ({id, kind})));
      this.soon = setTimeout(() => this.#ask(tries - 1), AGAIN_MS);
    }

    show() {
      const items = store.items.filter(item => facts.has(item.id)), wanted = items.filter(item => this.#passes(item));
      const all = this.element.classList.contains('all'), shown = all ? wanted : wanted.slice(0, IN_ROW);
      this.element.hidden = !items.length;
      this.#choices(items);
      this.#say(items.length, wanted.length);
      for (const [id, card] of this.#cards) if (!shown.some(item => item.id === id)) { card.remove(); this.#cards.delete(id); }
      shown.forEach((item, at) => {
        let card = this.#cards.get(item.id);
        if (!card) this.#cards.set(item.id, card = build(item, facts.get(item.id)));
        update(card, item, facts.get(item.id));
        if (this.list.children[at] !== card) this.list.insertBefore(card, this.list.children[at] ?? null);
      });
    }

    #say(all, wanted) {
      this.element.querySelector('[data-do=all]').hidden = wanted <= IN_ROW && !this.element.classList.contains('all');
      let line = this.element.querySelector('.none');
      if (wanted || !all) return line?.remove();
      line ??= Object.assign(document.createElement('p'), {className: 'none small', textContent: wanWord('Nothing matches this filter.')});
      this.list.before(line);
    }

    #filter(name) { return this.element.querySelector(`[data-filter=${name}]`); }

    #passes(item) {
      const fact = facts.get(item.id), field = this.#filter('field').value, engine = this.#filter('engine').value;
      const words = this.#filter('text').value.toLowerCase().trim();
      const text = [fact.label, fact.prompt, ...Object.entries(fact.settings ?? {}).map(pair => pair.join(' '))].join(' ').toLowerCase();
      return (!this.#filter('starred').checked || item.starred) && (!field || fact.changed?.includes(field)) &&
        (!engine || fact.engine === engine) && (!words || text.includes(words));
    }

    /** What the clips offer to choose from. */
    #choices(items) {
      const known = items.map(item => facts.get(item.id));
      fill(this.#filter('field'), wanWord('any setting'), [...new Set(known.flatMap(fact => fact.changed ?? []))].sort());
      fill(this.#filter('engine'), wanWord('any'), [...new Set(known.map(fact => fact.engine).filter(Boolean))].sort());
    }

    #click(event) {
      const button = event.target.closest('button'), card = event.target.closest('.card'), item = card?.dataset;
      if (!button) return;
      const actions = {
        all: () => {
          const open = this.element.classList.toggle('all');
          button.setAttribute('aria-expanded', open);
          button.textContent = open ? wanWord('Show fewer') : wanWord('Show all');
          this.show();
        },
        clear: () => {
          if (confirm(wanWord('Delete every clip and grid without a star from this list?'))) store.delete(...store.items.filter(each => !each.starred).map(each => each.id));
        },
        forget: () => {
          if (!confirm(wanWord('Forget all clips and grids of this browser? Whoever has a link can still see them.'))) return;
          store.forget();
          location.reload();
        },
        open: () => this.act(item.kind, item.id),
        star: () => store.star(item.id, item.kind, button.getAttribute('aria-pressed') !== 'true'),
        delete: () => { this.#choose(item.id, false); store.delete(item.id); },
      };
      actions[button.dataset.do]?.();
    }

    #changed(event) {
      if (event.target.dataset.compare) this.#choose(event.target.dataset.compare, event.target.checked);
    }

    #choose(id, on) {
      const before = this.#chosen.length;
      this.#chosen = this.#chosen.filter(each => each !== id).concat(on ? [id] : []);
      if (before !== this.#chosen.length) this.#compare();
    }

    #compare() {
      const mode = this.#open?.mode, old = this.#open;
      this.#open = null;
      old?.close();
      this.clock?.close();
      this.place.replaceChildren();
      if (this.#chosen.length < 2) return;
      const clips = this.#chosen.map(id => facts.get(id));
      this.clock = new wanExplore.Clock();
      const bar = wanExplore.transport(this.clock), stage = document.createElement('div');
      this.place.className = 'compare-place wan-player';
      this.place.replaceChildren(bar, stage);
      const comparison = new wanExplore.Comparison(stage, clips, this.clock, () => {
        if (this.#open !== comparison) return;
        this.#chosen = [];
        for (const box of this.list.querySelectorAll('[data-compare]')) box.checked = false;
        this.#compare();
      });
      if (mode && (clips.length === 2 || mode === 'difference')) comparison.choose(mode);
      this.#open = comparison;
      if (!matchMedia('(prefers-reduced-motion: reduce)').matches) this.clock.play();
    }
  }

  function build(item, fact) {
    const card = document.createElement('div');
    card.className = 'card';
    Object.assign(card.dataset, {id: item.id, kind: item.kind});
    card.setAttribute('role', 'listitem');
    card.innerHTML = `<button type="button" class="open" data-do="open"><span class="picture"></span><span class="label"></span></button>
      <div class="card-tools"><label class="small"><input type="checkbox" data-compare=""> ${wanWord('Compare')}</label>
      <button type="button" data-do="star" aria-label="${wanWord('Star')}">☆</button>
      <button type="button" data-do="delete" aria-label="${wanWord('Delete from this list')}" title="${wanWord('Delete from this list')}">×</button></div>`;
    const open = card.querySelector('.open'), box = card.querySelector('[data-compare]');
    open.dataset[item.kind] = item.id;
    box.dataset.compare = item.id;
    open.title = item.kind === 'clip' ? wanWord('Play this clip and restore its settings') : wanWord('Show this grid');
    box.closest('label').hidden = item.kind !== 'clip' || fact.expired;
    if (fact.src) {
      const video = Object.assign(document.createElement('video'), {muted: true, playsInline: true, preload: 'metadata', tabIndex: -1, src: `${window.wanRoot?.address(fact.src) ?? fact.src}#t=0.1`});
      card.querySelector('.picture').append(video);
    }
    return card;
  }

  function update(card, item, fact) {
    const star = card.querySelector('[data-do=star]'), label = card.querySelector('.label'), open = card.querySelector('.open');
    label.textContent = fact.expired ? wanWord('Expired: no longer kept here') : fact.label;
    card.classList.toggle('expired', Boolean(fact.expired));
    open.disabled = Boolean(fact.expired);
    star.textContent = item.starred ? '★' : '☆';
    star.setAttribute('aria-pressed', Boolean(item.starred));
    const onShow = document.querySelector('#clip')?.dataset.job === item.id;
    onShow ? card.setAttribute('aria-current', 'true') : card.removeAttribute('aria-current');
  }

  function fill(select, none, words) {
    if ([...select.options].slice(1).map(option => option.value).join('\n') === words.join('\n') && select.options.length) return;
    const {value} = select;
    select.replaceChildren(new Option(none, ''), ...words.map(word => new Option(word, word)));
    select.value = words.includes(value) ? value : '';
  }

  /** Build the row in `element`. */
  store.show = (element, ask, act) => { view = new View(element, ask, act); };

  /** What the server says about the ids: `[{id, expired} | {id, label, prompt, engine, settings, changed, src, fps, frames}]`. */
  store.learn = element => {
    const text = element.querySelector('[data-facts]')?.dataset.facts;
    if (!text) return;
    facts = new Map(JSON.parse(text).map(fact => [fact.id, fact]));
    view?.show();
  };

  // ---- what is worth remembering: the clip on show, the grid on show, and cells with a star

  new MutationObserver(() => {
    const clip = document.querySelector('#clip')?.dataset.job, sweep = document.querySelector('.explore-grid')?.dataset.sweep;
    if (clip) store.add(clip, 'clip');
    if (sweep && !wanRoot.showsSweep()) store.add(sweep, 'sweep');
    if (clip !== lastClip) { lastClip = clip; view?.show(); }
  }).observe(document, {childList: true, subtree: true});
  let lastClip;

  document.addEventListener('wan:cell-action', ({detail, target}) => {
    if (detail.action === 'star') store.star(detail.job, 'clip', target.getAttribute('aria-pressed') !== 'true');
  });

  const markStars = grid => {
    for (const button of grid.section.querySelectorAll('[data-action=star]')) {
      const starred = store.isStarred(button.closest('.cell').dataset.job);
      button.setAttribute('aria-pressed', starred);
      button.textContent = starred ? wanWord('Starred') : wanWord('Star');
    }
  };
  wanExplore.onGrid(grid => {
    markStars(grid);
    store.addEventListener('change', () => markStars(grid));
  });
})();
