// Two clips side by side, under a wipe, blinking or as their difference; three and more beside each other or as each
// one's difference to a reference. All on one clock. The captions name only what differs between these clips.
window.wanExplore ??= {};
(() => {
  const CALM = matchMedia('(prefers-reduced-motion: reduce)');
  const MODES = {side: wanWord('Side by side'), wipe: wanWord('Wipe'), blink: wanWord('Blink'), difference: wanWord('Difference')};
  const BLINK_MS = 600;  // well below three flashes a second
  const AMPLIFY = [1, 2, 4, 8, 16];
  const WIDEST = 960;
  const MOST_SHARED = 6;  // more is no help

  /** For each clip what no other shares, as text; and what all share. `clips`: `{label, settings}`. */
  function differences(clips) {
    const names = [...new Set(clips.flatMap(clip => Object.keys(clip.settings)))];
    const text = (clip, name) => `${clip.settings[name] ?? '—'}`;
    const differing = names.filter(name => new Set(clips.map(clip => text(clip, name))).size > 1);
    const say = (clip, chosen) => chosen.map(name => [name, text(clip, name)]);
    return {
      each: clips.map(clip => say(clip, differing)),
      shared: clips.length ? say(clips[0], names.filter(name => !differing.includes(name))) : [],
    };
  }

  class Comparison {
    mode = 'side';
    amplify = 4;
    reference = 0;
    wipe = 50;

    /** Shows `clips` ({src, poster, fps, frames, label, settings}) in `place` on `clock`. */
    constructor(place, clips, clock, onClose) {
      Object.assign(this, {place, clips, clock, onClose, ends: new AbortController()});
      this.root = document.createElement('section');
      this.root.className = 'wan-compare';
      this.root.setAttribute('aria-label', wanWord('Comparison of {n} clips', {n: clips.length}));
      this.sides = clips.map(clip => this.#side(clip));
      this.stage = document.createElement('div');
      this.stage.className = 'compare-stage';
      this.stage.append(...this.sides.map(side => side.figure));
      this.root.append(this.#tools(), this.#shared(), this.stage);
      this.#handle();
      place.replaceChildren(this.root);
      for (const {video, clip} of this.sides) clock.add(video, clip);
      clock.addEventListener('hold', () => this.#holds(), {signal: this.ends.signal});
      this.root.addEventListener('keydown', event => { if (event.key === 'Escape') this.close(); });
      this.choose(this.mode);
      this.#paint();
    }

    close() {
      this.ends.abort();
      clearInterval(this.blinking);
      for (const {video} of this.sides) this.clock.remove(video);
      this.root.remove();
      this.onClose?.();
    }

    choose(mode) {
      this.mode = mode;
      this.stage.className = `compare-stage ${mode} ${this.clips.length > 2 ? 'many' : 'two'}`;
      for (const button of this.root.querySelectorAll('[data-mode]')) button.setAttribute('aria-pressed', button.dataset.mode === mode);
      for (const tool of this.root.querySelectorAll('[data-for]')) tool.hidden = !tool.dataset.for.split(' ').includes(mode);
      clearInterval(this.blinking);
      this.front(0);
      if (mode === 'blink' && !CALM.matches) this.blinking = setInterval(() => this.front(1 - this.shown), BLINK_MS);
      this.sides.forEach((side, at) => {
        side.figure.classList.toggle('reference', at === this.reference);
        side.canvas.hidden = mode !== 'difference' || at === this.reference;
      });
      this.stale = true;
    }

    /** In blinking: the clip in front. */
    front(at) {
      this.shown = at;
      this.sides.forEach((side, other) => side.figure.classList.toggle('front', other === at));
    }

    #side(clip) {
      const figure = document.createElement('figure'), video = document.createElement('video');
      const canvas = document.createElement('canvas'), hold = document.createElement('span'), frame = document.createElement('div');
      Object.assign(video, {muted: true, playsInline: true, preload: 'auto', src: clip.src});
      if (clip.poster) video.poster = clip.poster;
      video.setAttribute('aria-label', clip.label);
      video.addEventListener('loadedmetadata', () => {
        const {videoWidth, videoHeight} = this.sides[0].video;
        if (videoWidth) this.stage.style.setProperty('--ratio', videoWidth / videoHeight);
      });
      hold.className = 'hold';
      hold.hidden = true;
      frame.className = 'frame';
      frame.append(video, canvas, hold);
      figure.append(frame, document.createElement('figcaption'));
      return {clip, figure, video, canvas, hold};
    }

    #shared() {
      const {each, shared} = differences(this.clips), line = document.createElement('p');
      each.forEach((said, at) => pairs(this.sides[at].figure.querySelector('figcaption'), said, this.clips[at].label));
      line.className = 'small shared';
      if (shared.length && shared.length <= MOST_SHARED) pairs(line, shared, '', this.clips.length > 2 ? wanWord('All: ') : wanWord('Both: '));
      return line;
    }

    #tools() {
      const tools = document.createElement('div'), two = this.clips.length === 2;
      tools.className = 'compare-tools';
      const modes = Object.entries(MODES).filter(([mode]) => two || ['side', 'difference'].includes(mode));
      tools.innerHTML = `<span role="group" aria-label="${wanWord('How to compare')}">${modes.map(([mode, word]) =>
        `<button type="button" data-mode="${mode}">${word}</button>`).join('')}</span>
        <label data-for="difference">${wanWord('Amplify')} <select data-do="amplify">${AMPLIFY.map(times =>
        `<option value="${times}"${times === this.amplify ? ' selected' : ''}>${times}×</option>`).join('')}</select></label>
        <span class="scale" data-for="difference"><i></i><span></span></span>
        <label data-for="difference" class="reference-choice">${wanWord('Difference to')} <select data-do="reference"></select></label>
        <button type="button" data-do="other" data-for="blink">${wanWord('Show the other')}</button>
        <button type="button" data-do="close">${wanWord('Close')}</button>`;
      const reference = tools.querySelector('[data-do=reference]');
      const {each} = differences(this.clips);
      each.forEach((said, at) => reference.append(new Option(said.map(pair => pair.join(' ')).join(' · ') || this.clips[at].label, at)));
      if (two) reference.parentElement.remove();
      tools.addEventListener('click', event => {
        const {mode, do: action} = event.target.closest('button')?.dataset ?? {};
        if (mode) this.choose(mode);
        if (action === 'close') this.close();
        if (action === 'other') { clearInterval(this.blinking); this.front(1 - this.shown); }
      });
      tools.addEventListener('change', event => {
        if (event.target.dataset.do === 'amplify') this.#scale(Number(event.target.value));
        if (event.target.dataset.do === 'reference') { this.reference = Number(event.target.value); this.choose(this.mode); }
      });
      this.tools = tools;
      this.#scale(this.amplify);
      return tools;
    }

    #scale(times) {
      this.amplify = times;
      this.root.style.setProperty('--amplify', times);
      const white = Math.round(255 / times);
      this.tools.querySelector('.scale span').textContent = times > 1
        ? wanWord('black 0 · white {white} or more of 255 levels', {white}) : wanWord('black 0 · white {white} of 255 levels', {white});
    }

    // ---- the wipe

    #handle() {
      const handle = document.createElement('div');
      Object.assign(handle, {className: 'handle', tabIndex: 0});
      for (const [name, value] of Object.entries({role: 'slider', 'aria-label': wanWord('Edge between the two clips'), 'aria-valuemin': 0, 'aria-valuemax': 100})) {
        handle.setAttribute(name, value);
      }
      const move = percent => {
        this.wipe = Math.max(0, Math.min(100, percent));
        this.stage.style.setProperty('--wipe', `${this.wipe}%`);
        handle.setAttribute('aria-valuenow', Math.round(this.wipe));
      };
      const drag = event => {
        const box = this.sides[0].figure.querySelector('.frame').getBoundingClientRect();
        move(100 * (event.clientX - box.left) / box.width);
      };
      this.stage.addEventListener('pointerdown', event => {
        if (this.mode !== 'wipe' || !event.target.closest('.frame, .handle')) return;
        event.preventDefault();
        handle.focus();
        this.stage.setPointerCapture(event.pointerId);
        drag(event);
      });
      this.stage.addEventListener('pointermove', event => { if (this.stage.hasPointerCapture(event.pointerId)) drag(event); });
      handle.addEventListener('keydown', event => {
        const by = event.shiftKey ? 10 : 1;
        const to = {ArrowLeft: this.wipe - by, ArrowRight: this.wipe + by, Home: 0, End: 100}[event.key];
        if (to === undefined) return;
        event.preventDefault();
        move(to);
      });
      this.stage.append(handle);
      move(this.wipe);
    }

    // ---- the difference: two drawings, amplified by a filter of the style sheet; no pixel is read

    #paint() {
      for (const {video} of this.sides) this.#watch(video);
      const paint = () => {
        if (!this.root.isConnected || this.ends.signal.aborted) return;
        if (this.stale && this.mode === 'difference') this.#draw();
        requestAnimationFrame(paint);
      };
      requestAnimationFrame(paint);
    }

    #watch(video) {
      const changed = () => { this.stale = true; };
      const next = () => { changed(); if (!this.ends.signal.aborted) video.requestVideoFrameCallback(next); };
      video.requestVideoFrameCallback ? video.requestVideoFrameCallback(next) : video.addEventListener('timeupdate', changed);
      video.addEventListener('seeked', changed);
    }

    #draw() {
      const base = this.sides[this.reference].video;
      if (base.readyState < 2) return;
      this.stale = false;
      for (const {video, canvas} of this.sides) {
        if (video === base || video.readyState < 2) { this.stale ||= video !== base; continue; }
        const width = Math.min(WIDEST, base.videoWidth), height = Math.round(width * base.videoHeight / base.videoWidth);
        if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
        const paper = canvas.getContext('2d');
        paper.globalCompositeOperation = 'copy';
        paper.drawImage(base, 0, 0, width, height);
        paper.globalCompositeOperation = 'difference';
        paper.drawImage(video, 0, 0, width, height);
      }
    }

    #holds() {
      for (const {video, hold, clip} of this.sides) {
        hold.hidden = !this.clock.isHeld(video);
        const seconds = clip.frames && clip.fps ? clip.frames / clip.fps : video.duration;
        if (!hold.hidden) hold.textContent = wanWord('ended at {seconds} s: its last frame', {seconds: seconds.toFixed(2)});
      }
    }
  }

  // “Guidance **3.5** · Shift **2**”
  function pairs(element, said, otherwise, before = '') {
    element.replaceChildren(before);
    said.forEach(([name, value], at) => {
      const bold = document.createElement('b');
      bold.textContent = value;
      element.append(at ? ' · ' : '', `${name} `, bold);
    });
    if (!said.length) element.append(otherwise);
  }

  // ---- the cells of a grid: tick two or more

  function offer(grid) {
    const {section} = grid, chosen = [];
    let open = null;
    const compare = () => {
      const cells = chosen.filter(cell => cell.isConnected);
      const close = open;
      open = null;
      close?.close();
      section.classList.toggle('choosing', cells.length > 0);
      grid.suspend(cells.length > 1);
      if (cells.length < 2) return;
      const comparison = new Comparison(grid.place, cells.map(wanExplore.cells.clipOf), grid.clock, () => {
        if (open !== comparison) return;  // another set of clips follows
        open = null;
        clear();
      });
      if (close) comparison.choose(MODES[close.mode] && (cells.length === 2 || close.mode === 'difference') ? close.mode : 'side');
      open = comparison;
    };
    const clear = () => {
      for (const cell of chosen.splice(0)) cell.querySelector('.pick input').checked = false;
      compare();
    };
    for (const cell of wanExplore.cells.cellsOf(section)) {
      const label = document.createElement('label');
      label.className = 'pick';
      label.innerHTML = `<input type="checkbox"> ${wanWord('Compare')}`;
      label.querySelector('input').addEventListener('change', event => {
        if (event.target.checked) chosen.push(cell); else chosen.splice(chosen.indexOf(cell), 1);
        compare();
      });
      cell.append(label);
    }
  }

  Object.assign(wanExplore, {Comparison, differences});
  wanExplore.onGrid(offer);
})();
