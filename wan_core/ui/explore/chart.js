// The numbers of a grid's clips: a small chart over the columns, one mark a cell, one shape a row; and all in a table.
window.wanExplore ??= {};
(() => {
  const {cellsOf, measuresOf, numbersOf} = wanExplore.cells;
  const SVG = 'http://www.w3.org/2000/svg', HEIGHT = 240, EDGE = {left: 64, right: 16, top: 14, bottom: 40}, TICKS = 4;
  const SERIES = 6;  // colours in the style sheet
  const SHAPES = [  // around 0, 0
    'M-5,0a5,5 0 1 0 10,0a5,5 0 1 0 -10,0', 'M-5,-5h10v10h-10z', 'M0,-6l6,11h-12z', 'M0,-7l6,7l-6,7l-6,-7z',
    'M0,6l6,-11h-12z', 'M-6,-2h4v-4h4v4h4v4h-4v4h-4v-4h-4z',
  ];
  let copies = 0;

  function chart(grid) {
    const measures = measuresOf(grid.section);
    if (!measures.length) return;
    const box = document.createElement('div'), id = `measure-${copies += 1}`;
    box.className = 'grid-chart';
    box.innerHTML = `<div class="chart-tools"><label for="${id}">${wanWord('Numbers')}</label> <select id="${id}"></select>
      <ul class="legend"></ul></div><p class="small help"></p><div class="drawing"></div>
      <details><summary>${wanWord('All numbers')}</summary><table></table></details>`;
    const select = box.querySelector('select');
    for (const {name, title} of measures) select.append(new Option(title, name));
    grid.matrix.after(box);
    let waiting = 0;
    const draw = () => {
      const known = cellsOf(grid.section).filter(cell => Object.keys(numbersOf(cell)).length);
      box.hidden = !known.length;
      if (box.hidden) return;
      const measure = measures.find(each => each.name === select.value);
      box.querySelector('.help').textContent = measure.help ?? '';
      plot(box, grid, measure, known.filter(cell => grid.layout.spot(cell)[2] === grid.layout.page));
      list(box.querySelector('table'), measures, known);
    };
    const soon = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(draw); };
    select.addEventListener('change', soon);
    grid.layout.addEventListener('placed', soon);
    grid.section.addEventListener('wan:cell-changed', event => { if (event.detail.numbers) soon(); });
    new ResizeObserver(soon).observe(grid.section);
    soon();
  }

  function plot(box, grid, measure, cells) {
    const points = cells.map(cell => {
      const [column, row] = grid.layout.spot(cell);
      return {cell, column, row, value: numbersOf(cell)[measure.name]};
    }).filter(point => Number.isFinite(point.value));
    const place = box.querySelector('.drawing'), width = place.clientWidth || 600;
    const {columns, rows} = grid.layout, scale = scaleOf(points.map(point => point.value));
    const x = column => EDGE.left + (width - EDGE.left - EDGE.right) * (column + 0.5) / columns.length;
    const y = value => HEIGHT - EDGE.bottom - (HEIGHT - EDGE.top - EDGE.bottom) * (value - scale.from) / (scale.to - scale.from);
    const svg = make('svg', {viewBox: `0 0 ${width} ${HEIGHT}`, role: 'group', 'aria-label': wanWord('{measure} of each clip', {measure: measure.title})});
    for (const tick of scale.ticks) {
      svg.append(make('line', {class: 'rule', x1: EDGE.left, x2: width - EDGE.right, y1: y(tick), y2: y(tick)}),
        make('text', {x: EDGE.left - 8, y: y(tick) + 4, 'text-anchor': 'end'}, said(tick, measure)));
    }
    const room = (width - EDGE.left - EDGE.right) / columns.length / 7;
    columns.forEach((label, column) => svg.append(
      make('text', {x: x(column), y: HEIGHT - EDGE.bottom + 18, 'text-anchor': 'middle'}, shorten(label, room))));
    svg.append(make('text', {x: (EDGE.left + width - EDGE.right) / 2, y: HEIGHT - 4, 'text-anchor': 'middle'}, grid.layout.axes[grid.layout.order[0]].title));
    rows.forEach((label, row) => {
      const line = points.filter(point => point.row === row).sort((a, b) => a.column - b.column);
      const series = make('g', {class: `series-${row % SERIES}`});
      series.append(make('path', {class: 'line', d: line.map((point, at) => `${at ? 'L' : 'M'}${x(point.column)},${y(point.value)}`).join('')}));
      for (const point of line) series.append(mark(point, x(point.column), y(point.value), measure));
      svg.append(series);
    });
    place.replaceChildren(svg);
    legend(box.querySelector('.legend'), rows, grid.layout.axes[grid.layout.order[1]].title);
  }

  function mark({cell, row, value}, x, y, measure) {
    const shape = make('path', {class: 'mark', d: SHAPES[row % SHAPES.length], transform: `translate(${x},${y})`, tabindex: 0, role: 'img'});
    const words = `${cell.dataset.label}: ${said(value, measure)}${measure.unit ? ` ${measure.unit}` : ''}`;
    shape.append(make('title', {}, words));
    shape.setAttribute('aria-label', words);
    const point = on => () => cell.classList.toggle('pointed', on);
    for (const name of ['mouseenter', 'focus']) shape.addEventListener(name, point(true));
    for (const name of ['mouseleave', 'blur']) shape.addEventListener(name, point(false));
    shape.addEventListener('click', () => cell.scrollIntoView({block: 'nearest', inline: 'nearest'}));
    return shape;
  }

  function legend(list, rows, title) {
    list.replaceChildren(...(rows.length < 2 ? [] : rows.map((label, row) => {
      const item = document.createElement('li'), svg = make('svg', {viewBox: '-8 -8 16 16', class: `series-${row % SERIES}`, 'aria-hidden': true});
      svg.append(make('path', {class: 'mark', d: SHAPES[row % SHAPES.length]}));
      item.append(svg, ` ${title} ${shorten(label, 40)}`);
      return item;
    })));
  }

  function list(table, measures, cells) {
    const row = (kind, texts) => {
      const line = document.createElement('tr');
      line.append(...texts.map(text => Object.assign(document.createElement(kind), {textContent: text})));
      return line;
    };
    const head = row('th', [wanWord('Clip'), ...measures.map(each => each.unit ? `${each.title}, ${each.unit}` : each.title)]);
    const lines = cells.map(cell => {
      const numbers = numbersOf(cell);
      return row('td', [cell.dataset.label, ...measures.map(each => Number.isFinite(numbers[each.name]) ? said(numbers[each.name], each) : '—')]);
    });
    table.replaceChildren(head, ...lines);
  }

  /** Round limits around the values, with the ticks between them. */
  function scaleOf(values) {
    const least = Math.min(...values), most = Math.max(...values), spread = most - least || Math.abs(most) || 1;
    const raw = spread / TICKS, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * ([1, 2, 5].find(each => each * power >= raw) ?? 10);
    const from = step * Math.floor(least / step), to = step * Math.max(Math.ceil(most / step), Math.floor(least / step) + 1);
    return {from, to, ticks: Array.from({length: Math.round((to - from) / step) + 1}, (_, at) => from + at * step)};
  }

  const said = (value, {unit}) => unit === 'bytes' ? `${Math.round(value / 1000)} k` : String(Number(value.toPrecision(3)));
  const shorten = (text, room) => text.length <= room ? text : `${text.slice(0, Math.max(1, Math.floor(room) - 1))}…`;

  function make(name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  wanExplore.onGrid(chart);
})();
