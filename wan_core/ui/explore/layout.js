// Where each cell of a grid stands: axes to columns, rows and pages, sticky labels, zoom; one column on a phone.
// Moves by styles alone: a video that is moved in the document starts again.
window.wanExplore ??= {};
(() => {
  const {axesOf, cellsOf, placeOf} = wanExplore.cells;
  const ROLES = [wanWord('Columns'), wanWord('Rows'), wanWord('Pages')];
  const NARROW = matchMedia('(max-width: 640px)');
  const ZOOM = {min: 120, max: 900};

  class Layout extends EventTarget {
    page = 0;
    flip = 0;  // the column on show where there is room for one

    /** `whenShown(cells)`: a promise that the cells show the moment of the others; then they take their places. */
    constructor(grid, matrix, whenShown) {
      super();
      this.grid = grid;
      this.matrix = matrix;
      this.whenShown = whenShown;
      this.axes = axesOf(grid);
      this.order = [0, 1, 2];
      this.tools = this.#tools();
      NARROW.addEventListener('change', () => this.place());
      this.place();
    }

    get narrow() { return NARROW.matches; }
    get columns() { return this.axes[this.order[0]].labels; }
    get rows() { return this.axes[this.order[1]].labels; }
    get pages() { return this.axes[this.order[2]].labels; }

    /** Column, row and page of a cell as they are shown now. */
    spot(cell) {
      const place = placeOf(cell);
      return this.order.map(axis => place[axis]);
    }

    isShown(cell) {
      const [column, , page] = this.spot(cell);
      return page === this.page && (!this.narrow || column === this.flip);
    }

    /** Whether one press of a button would show the cell. */
    isNext(cell) {
      const [column, , page] = this.spot(cell);
      if (this.narrow && page === this.page) return Math.abs(column - this.flip) === 1;
      return Math.abs(page - this.page) === 1 && (!this.narrow || column === this.flip);
    }

    place() {
      const {matrix, narrow} = this;
      matrix.classList.toggle('narrow', narrow);
      matrix.style.setProperty('--columns', narrow ? 1 : this.columns.length);
      matrix.querySelectorAll('.head').forEach(old => old.remove());
      if (!narrow) this.columns.forEach((label, at) => this.#head('column', label, `1 / ${at + 2}`, this.order[0]));
      this.rows.forEach((label, at) => this.#head('row', label, narrow ? `${2 * at + 1} / 1` : `${at + 2} / 1`, this.order[1]));
      for (const cell of cellsOf(this.grid)) {
        const [column, row] = this.spot(cell);
        cell.style.gridArea = narrow ? `${2 * row + 2} / 1` : `${row + 2} / ${column + 2}`;
        cell.classList.toggle('behind', !this.isShown(cell));
      }
      this.#switches();
      this.dispatchEvent(new Event('placed'));
    }

    async #turn(change) {
      change();
      this.#switches();
      const coming = cellsOf(this.grid).filter(cell => this.isShown(cell));
      const turn = this.turns = (this.turns ?? 0) + 1;
      await this.whenShown(coming);
      if (turn === this.turns) this.place();
    }

    /** Swap what stands in a role with the role that had the axis. */
    assign(role, axis) {
      const other = this.order.indexOf(axis);
      [this.order[role], this.order[other]] = [this.order[other], this.order[role]];
      this.page = this.flip = 0;
      this.place();
    }

    #head(kind, label, area, axis) {
      if (!label && !this.axes[axis].title) return;
      const head = document.createElement('div'), title = document.createElement('span'), value = document.createElement('b');
      head.className = `head ${kind}`;
      head.style.gridArea = area;
      title.textContent = this.axes[axis].title ? `${this.axes[axis].title} ` : '';
      value.textContent = label;
      head.append(title, value);
      this.matrix.append(head);
    }

    #tools() {
      const tools = document.createElement('div');
      tools.className = 'grid-tools';
      const many = this.axes.filter(axis => axis.labels.length > 1).length;
      const choices = this.axes.map((axis, at) => `<option value="${at}"></option>`).join('');
      tools.innerHTML = ROLES.map((role, at) => `<label class="role"${many < 2 ? ' hidden' : ''}>${role}
          <select data-role="${at}">${choices}</select></label>`).join('') +
        `<label class="zoom">${wanWord('Size')} <input type="range" min="${ZOOM.min}" max="${ZOOM.max}" step="20" value="${ZOOM.min}"
          aria-label="${wanWord('Size of the clips')}"></label><div class="switches"></div>`;
      for (const option of tools.querySelectorAll('option')) option.textContent = this.axes[option.value].title || wanWord('none');
      tools.addEventListener('change', event => {
        const role = event.target.dataset.role;
        if (role) this.assign(Number(role), Number(event.target.value));
      });
      tools.querySelector('.zoom input').addEventListener('input', event => {
        this.matrix.style.setProperty('--cell', `${event.target.value}px`);
      });
      return tools;
    }

    /** A slider each for what lies behind: the pages, and on a phone the columns. */
    #switches() {
      const place = this.tools.querySelector('.switches');
      for (const select of this.tools.querySelectorAll('select')) select.value = this.order[select.dataset.role];
      this.#switch(place, 'page', this.pages, this.axes[this.order[2]].title, this.page, at => { this.page = at; });
      const columns = this.narrow ? this.columns : [];
      this.#switch(place, 'flip', columns, this.axes[this.order[0]].title, this.flip, at => { this.flip = at; });
    }

    #switch(place, name, labels, title, at, choose) {
      let label = place.querySelector(`.${name}`);
      if (labels.length < 2) return label?.remove();
      if (!label) {
        label = document.createElement('label');
        label.className = name;
        label.innerHTML = '<span></span> <b></b> <input type="range" min="0" step="1">';
        label.querySelector('input').addEventListener('input', event => {
          this.#turn(() => choose(Number(event.target.value)));
        });
        place.append(label);
      }
      const slider = label.querySelector('input');
      label.querySelector('span').textContent = title;
      label.querySelector('b').textContent = labels[at];
      slider.max = labels.length - 1;
      slider.value = at;
      slider.setAttribute('aria-valuetext', labels[at]);
      slider.setAttribute('aria-label', title || (name === 'page' ? wanWord('Page') : wanWord('Column')));
    }
  }

  wanExplore.Layout = Layout;
})();
