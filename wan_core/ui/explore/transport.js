// The bar under or over clips that share a clock: play, pause, frame by frame, scrub, speed, loop; and the keys.
window.wanExplore ??= {};
(() => {
  const SPEEDS = [0.25, 0.5, 1, 2];
  const INTERACTIVE = 'input, textarea, select, button, a[href], summary, video[controls], [contenteditable], [role=slider]';
  const KEYS = {
    ' ': clock => clock.toggle(), ArrowLeft: clock => clock.step(-1), ArrowRight: clock => clock.step(1),
    Home: clock => clock.seek(0),
  };
  const shown = [];  // pairs of bar and clock, the latest last

  const MARKUP = `
    <button type="button" data-do="start" aria-label="${wanWord('To the first frame (Home)')}" title="${wanWord('To the first frame (Home)')}">${wanWord('Start')}</button>
    <button type="button" data-do="back" aria-label="${wanWord('One frame back (←)')}" title="${wanWord('One frame back (←)')}">−1</button>
    <button type="button" data-do="play" title="${wanWord('Space')}">${wanWord('Play')}</button>
    <button type="button" data-do="on" aria-label="${wanWord('One frame on (→)')}" title="${wanWord('One frame on (→)')}">+1</button>
    <input type="range" min="0" value="0" step="1" aria-label="${wanWord('Moment in all clips')}">
    <output></output>
    <label>${wanWord('Speed')} <select data-do="speed" aria-label="${wanWord('Speed')}">${SPEEDS.map(speed =>
    `<option value="${speed}"${speed === 1 ? ' selected' : ''}>${speed}×</option>`).join('')}</select></label>
    <label><input type="checkbox" data-do="loop" checked> ${wanWord('Loop')}</label>`;

  /** A bar for `clock`; the keys work wherever nothing else uses them, while the bar is on the page. */
  function transport(clock) {
    const bar = document.createElement('div');
    bar.className = 'transport';
    bar.setAttribute('role', 'group');
    bar.setAttribute('aria-label', wanWord('Player of all clips'));
    bar.innerHTML = MARKUP;
    const [play, range, output] = ['[data-do=play]', '[type=range]', 'output'].map(each => bar.querySelector(each));

    const show = () => {
      const last = Math.max(0, Math.round(clock.duration * clock.fps) - 1);
      const frame = Math.min(last, Math.floor(clock.time * clock.fps + 1e-6));
      range.max = last;
      if (!range.matches(':active')) range.value = frame;
      const words = `${wanWord('frame {n} of {all}', {n: frame + 1, all: last + 1})} · ${(frame / clock.fps).toFixed(2)} s`;
      if (output.value !== words) output.value = words;
      range.setAttribute('aria-valuetext', words);
    };
    const state = () => { play.textContent = clock.playing ? wanWord('Pause') : wanWord('Play'); };
    clock.addEventListener('time', show);
    clock.addEventListener('change', show);
    clock.addEventListener('state', state);
    range.addEventListener('input', () => clock.seek(range.value / clock.fps));
    bar.addEventListener('click', event => {
      const action = event.target.closest('button')?.dataset.do;
      ({start: () => clock.seek(0), back: () => clock.step(-1), on: () => clock.step(1), play: () => clock.toggle()})[action]?.();
    });
    bar.addEventListener('change', event => {
      if (event.target.dataset.do === 'speed') clock.rate = Number(event.target.value);
      if (event.target.dataset.do === 'loop') clock.loop = event.target.checked;
    });
    range.addEventListener('keydown', event => {
      if (KEYS[event.key]) { event.preventDefault(); event.stopPropagation(); KEYS[event.key](clock); }
    });
    shown.push([bar, clock]);
    show();
    state();
    return bar;
  }

  document.addEventListener('keydown', event => {
    const key = KEYS[event.key];
    if (!key || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.(INTERACTIVE)) return;
    const clock = nearest(event.target);
    if (!clock) return;
    event.preventDefault();
    key(clock);
  });

  // the bar beside what has the focus, else the latest one in sight
  function nearest(target) {
    for (let at = shown.length - 1; at >= 0; at -= 1) if (!shown[at][0].isConnected && shown[at].seen) shown.splice(at, 1);
    const there = shown.filter(pair => pair[0].isConnected && (pair.seen = true) && pair[0].getClientRects().length);
    const around = there.filter(([bar]) => bar.parentElement.contains(target) && target !== document.body);
    const inSight = there.filter(([bar]) => {
      const {top, bottom} = bar.parentElement.getBoundingClientRect();
      return top < innerHeight && bottom > 0;
    });
    return (around.at(-1) ?? inSight.at(-1))?.[1] ?? null;
  }

  wanExplore.transport = transport;
})();
