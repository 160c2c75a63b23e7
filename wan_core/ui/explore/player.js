// A grid of clips with one clock. Takes over every <section class="explore-grid"> that appears on the page and changes
// single cells by `wanExplore.update(patch)`; it never writes new markup for the others, so their videos go on.
//
// section: data-sweep; data-axes [{title, labels}] of columns, rows, pages; data-measures [{name, title, unit, help}];
//          data-most-playing, where the page knows better how many clips may play at once
// cell:    data-job, data-column, data-row, data-page, data-state, data-label, data-clip, data-poster, data-fps,
//          data-frames, data-settings {title: value}, data-numbers {name: number}
window.wanExplore ??= {};
(() => {
  const {addressOf, cellsOf, clipOf} = wanExplore.cells;
  const CALM = matchMedia('(prefers-reduced-motion: reduce)');
  const WEAK = (navigator.hardwareConcurrency ?? 4) <= 2 || (navigator.deviceMemory ?? 8) <= 2;
  const MOST_PLAYING = WEAK ? 9 : 36;
  const MOST_LOADED = 40;  // browsers end at about 75 players a page
  const FLIP_MS = 500;
  const AT_FIRST = 3;  // buttons of a cell; the style sheet hides the others
  const grids = new Map(), followers = [];

  class Grid {
    #near = new Set();  // cells in or close to the window

    constructor(section) {
      this.section = section;
      this.clock = new wanExplore.Clock();
      this.most = Number(section.dataset.mostPlaying) || MOST_PLAYING;
      this.wantsPlay = !CALM.matches;  // until the visitor pauses
      this.#build();
      this.sight = new IntersectionObserver(seen => this.#seen(seen), {rootMargin: '150px'});
      for (const cell of cellsOf(section)) this.#prepare(cell);
      this.clock.addEventListener('state', () => { if (this.clock.playing) this.wantsPlay = true; });
      this.clock.addEventListener('hold', () => this.#holds());
      this.layout.addEventListener('placed', () => this.arrange());
      section.addEventListener('wan:arrange', () => this.arrange());
      this.arrange();
    }

    #build() {
      const matrix = document.createElement('div'), first = cellsOf(this.section)[0];
      matrix.className = 'matrix';
      first?.before(matrix);
      matrix.append(...cellsOf(this.section));
      this.layout = new wanExplore.Layout(this.section, matrix, cells => this.#shown(cells));
      this.bar = wanExplore.transport(this.clock);
      this.place = document.createElement('div');
      this.place.className = 'compare-place';
      this.notes = document.createElement('p');
      this.notes.className = 'player-notes';
      this.notes.setAttribute('role', 'status');
      this.bar.addEventListener('click', () => { this.wantsPlay = this.clock.playing; });
      matrix.before(this.layout.tools, this.bar, this.notes, this.place);
      this.matrix = matrix;
    }

    #prepare(cell) {
      const video = cell.querySelector('video');
      Object.assign(video, {muted: true, playsInline: true});  // iOS wants the properties too
      video.setAttribute('aria-label', cell.dataset.label ?? '');
      if (!cell.querySelector('.hold')) {
        const hold = document.createElement('span');
        hold.className = 'hold';
        hold.hidden = true;
        video.after(hold);
      }
      fold(cell.querySelector('.actions'));
      video.addEventListener('loadedmetadata', () => this.#ratio(video), {once: true});
      video.addEventListener('error', () => {
        if (video.getAttribute('src')) wanExplore.setStatus(cell, wanWord('This clip cannot be played here.'));
      });
      this.show(cell);
      this.sight.observe(cell);
    }

    /** Bring the cell's looks in line with its data. */
    show(cell) {
      const video = cell.querySelector('video'), {poster} = cell.dataset;
      if (poster && video.getAttribute('poster') !== poster) video.poster = poster;
      if (!poster) video.removeAttribute('poster');
      for (const button of cell.querySelectorAll('.actions [data-action]')) {
        button.disabled = cell.dataset.state !== 'done' && !['hide', 'settings', 'link'].includes(button.dataset.action);
      }
    }

    #ratio(video) {
      if (this.matrix.style.getPropertyValue('--ratio') || !video.videoWidth) return;
      this.matrix.style.setProperty('--ratio', `${video.videoWidth} / ${video.videoHeight}`);
    }

    #seen(entries) {
      for (const {target, isIntersecting} of entries) isIntersecting ? this.#near.add(target) : this.#near.delete(target);
      this.arrange();
    }

    /** Compared clips play instead of the grid's, on the same clock. */
    suspend(on) {
      this.suspended = on;
      this.section.classList.toggle('comparing', on);
      this.arrange();
    }

    /** Which cells are loaded, which play, which stand still. */
    arrange() {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.#arrange(), 30);
    }

    #arrange() {
      if (!this.section.isConnected) return;
      const usable = cellsOf(this.section).filter(cell => cell.dataset.state === 'done' && cell.dataset.clip &&
        !cell.classList.contains('dismissed'));
      const near = usable.filter(cell => this.#near.has(cell));
      const active = this.suspended ? [] : near.filter(cell => this.layout.isShown(cell));
      const ahead = near.filter(cell => this.layout.isNext(cell));
      const ranked = active.map(cell => [distance(cell), cell]).sort((a, b) => a[0] - b[0]).map(pair => pair[1]);
      const still = new Set(ranked.slice(this.most));
      for (const cell of cellsOf(this.section)) {
        const video = cell.querySelector('video'), isActive = active.includes(cell);
        if (isActive || ahead.includes(cell)) this.#load(cell, video);
        if (isActive) this.clock.add(video, {...clipOf(cell), still: still.has(cell)});
        else if (this.clock.has(video)) this.clock.remove(video);
        cell.classList.toggle('still', still.has(cell));
      }
      this.#unload(new Set([...active, ...ahead]));
      this.#say(still.size);
      if ((active.length || this.suspended) && this.wantsPlay && !this.clock.playing) this.clock.play();
      this.#holds();
    }

    #load(cell, video) {
      const address = addressOf(cell);
      if (video.getAttribute('src') === address) return;
      video.preload = 'auto';
      video.src = address;
    }

    #unload(needed) {
      const loaded = cellsOf(this.section).filter(cell => cell.querySelector('video').getAttribute('src'));
      for (const cell of loaded.filter(each => !needed.has(each)).slice(0, Math.max(0, loaded.length - MOST_LOADED))) {
        const video = cell.querySelector('video');
        video.removeAttribute('src');
        video.load();
      }
    }

    #say(still) {
      const words = still
        ? wanWord('{most} clips play at once on this device; {still} more follow when you pause.', {most: this.most, still}) : '';
      if (this.notes.textContent !== words) this.notes.textContent = words;
    }

    #holds() {
      for (const cell of cellsOf(this.section)) {
        const video = cell.querySelector('video'), hold = cell.querySelector('.hold');
        const held = this.clock.has(video) && this.clock.isHeld(video);
        if (hold.hidden !== held) continue;
        hold.hidden = !held;
        const {fps, frames} = clipOf(cell), seconds = frames && fps ? frames / fps : video.duration;
        hold.textContent = wanWord('ended at {seconds} s: its last frame', {seconds: seconds.toFixed(2)});
      }
    }

    /** Cells behind others, brought to the moment on show before they come to the front. */
    #shown(cells) {
      const waits = cells.filter(cell => cell.dataset.state === 'done' && cell.dataset.clip).map(cell => {
        const video = cell.querySelector('video');
        if (this.clock.has(video)) return null;
        this.#load(cell, video);
        this.clock.add(video, clipOf(cell));
        return ready(video);
      });
      return Promise.race([Promise.all(waits), new Promise(done => setTimeout(done, FLIP_MS))]);
    }

    close() {
      this.sight.disconnect();
      this.clock.close();
    }
  }

  /** The first buttons, and the others behind “More”. */
  function fold(actions) {
    if (!actions || actions.children.length <= AT_FIRST || actions.querySelector('.more')) return;
    const more = document.createElement('button');
    Object.assign(more, {type: 'button', className: 'more', textContent: wanWord('More')});
    more.setAttribute('aria-expanded', 'false');
    more.addEventListener('click', () => {
      const open = actions.classList.toggle('open');
      more.setAttribute('aria-expanded', open);
      more.textContent = open ? wanWord('Less') : wanWord('More');
    });
    actions.append(more);
  }

  function ready(video) {
    return new Promise(done => {
      const look = () => video.readyState >= 2 && !video.seeking ? done() : setTimeout(look, 16);
      setTimeout(look, 16);
    });
  }

  function distance(cell) {
    const box = cell.getBoundingClientRect();
    return Math.hypot(box.x + box.width / 2 - innerWidth / 2, box.y + box.height / 2 - innerHeight / 2);
  }

  wanExplore.setStatus = (cell, words) => {
    const line = cell.querySelector('.status');
    if (line && line.textContent !== words) line.textContent = words;
  };

  /** Change single cells: `{job, state, status, clip, poster, fps, frames, numbers}`, one patch or several.
   *  `replaces`: the job that the cell had before, where a failed one was run again. */
  wanExplore.update = patches => {
    for (const patch of [patches].flat()) {
      const was = CSS.escape(patch.replaces ?? patch.job);
      for (const cell of document.querySelectorAll(`.explore-grid .cell[data-job="${was}"]`)) apply(cell, patch);
    }
  };

  function apply(cell, patch) {
    const data = cell.dataset, section = cell.closest('.explore-grid');
    data.job = patch.job;
    for (const name of ['state', 'clip', 'poster', 'fps', 'frames']) if (name in patch) data[name] = patch[name] ?? '';
    if (patch.label) data.label = patch.label;
    if (patch.settings) data.settings = JSON.stringify(patch.settings);
    if (patch.numbers) data.numbers = JSON.stringify(patch.numbers);
    if ('status' in patch) wanExplore.setStatus(cell, patch.status ?? '');
    const grid = grids.get(section);
    grid?.show(cell);
    grid?.arrange();
    cell.dispatchEvent(new CustomEvent('wan:cell-changed', {bubbles: true, detail: patch}));
  }

  wanExplore.gridOf = section => grids.get(section);

  /** Call `then(grid)` for every grid there is and will be. */
  wanExplore.onGrid = then => {
    followers.push(then);
    for (const grid of grids.values()) then(grid);
  };

  function look() {
    for (const [section, grid] of grids) {
      if (section.isConnected) continue;
      grid.close();
      grids.delete(section);
    }
    for (const section of document.querySelectorAll('.explore-grid')) {
      if (grids.has(section) || !section.querySelector('.cell')) continue;
      const grid = new Grid(section);
      grids.set(section, grid);
      for (const then of followers) then(grid);
    }
  }

  new MutationObserver(look).observe(document, {childList: true, subtree: true});
  look();
})();
