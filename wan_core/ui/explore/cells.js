// What a grid's markup says: its axes, its cells and their clips. The only reader of the data attributes.
window.wanExplore ??= {};
(() => {
  const AXES = ['column', 'row', 'page'];
  const json = (text, otherwise) => { try { return JSON.parse(text) ?? otherwise; } catch { return otherwise; } };

  /** Three axes, `{title, labels}`: those in `data-axes`, else counted from the cells. */
  function axesOf(grid) {
    const said = json(grid.dataset.axes, []);
    return AXES.map((name, at) => {
      const count = 1 + Math.max(0, ...cellsOf(grid).map(cell => Number(cell.dataset[name]) || 0));
      const {title = '', labels = []} = said[at] ?? {};
      return {name, title, labels: Array.from({length: Math.max(count, labels.length)}, (_, i) => labels[i] ?? '')};
    });
  }

  const cellsOf = grid => [...grid.querySelectorAll('figure.cell')];
  const placeOf = cell => AXES.map(name => Number(cell.dataset[name]) || 0);

  /** What tells the clip from others: `data-settings`, else its values on the axes. */
  function settingsOf(cell) {
    const said = json(cell.dataset.settings, null);
    if (said) return said;
    const grid = cell.closest('.explore-grid'), place = placeOf(cell);
    const values = axesOf(grid).map((axis, at) => [axis.title, axis.labels[place[at]]]).filter(([title, value]) => title && value);
    return values.length ? Object.fromEntries(values) : {[wanWord('Clip')]: cell.dataset.label ?? ''};
  }

  /** Of the clip; empty until it is made. The page may lie below a path of its host. */
  function addressOf(cell) {
    const {clip} = cell.dataset;
    return clip && window.wanRoot ? wanRoot.address(clip) : clip ?? '';
  }

  /** `{job, src, label, fps, frames, settings}` of a cell that is done. */
  const clipOf = cell => ({
    job: cell.dataset.job, src: addressOf(cell), label: cell.dataset.label ?? '', poster: cell.dataset.poster,
    fps: Number(cell.dataset.fps) || 0, frames: Number(cell.dataset.frames) || 0, settings: settingsOf(cell),
  });

  const numbersOf = cell => json(cell.dataset.numbers, {});
  const measuresOf = grid => json(grid.dataset.measures, []);

  Object.assign(wanExplore, {cells: {AXES, axesOf, cellsOf, placeOf, settingsOf, addressOf, clipOf, numbersOf, measuresOf}});
})();
