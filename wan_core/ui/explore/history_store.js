// What this browser remembers of its visits: ids of clips and grids, when they came, and which have a star. Every change
// reads the storage first, so several tabs merge by id and none writes back an old copy.
window.wanExplore ??= {};
(() => {
  const KEY = 'wan-2.2-history', VISIT_KEYS = [KEY, 'wan-2.2-visit', 'wan-2.2-explore'];
  const MOST = 200, ID = /^[0-9a-f-]{36}$/, KINDS = ['clip', 'sweep'];

  const isItem = item => ID.test(item?.id) && KINDS.includes(item.kind) && Number.isFinite(item.at);

  class History extends EventTarget {
    constructor() {
      super();
      addEventListener('storage', event => { if (event.key === KEY || event.key === null) this.#say(); });
    }

    /** `{id, kind, at, starred}`, newest first. */
    get items() { return this.#read().items.sort((one, other) => other.at - one.at); }

    isStarred(id) { return this.items.some(item => item.id === id && item.starred); }

    /** Remember it, unless it is known or was deleted. */
    add(id, kind) {
      const {items, deleted} = this.#read();
      if (!ID.test(id) || deleted.includes(id) || items.some(item => item.id === id)) return;
      this.#change(stored => { stored.items.push({id, kind, at: Date.now(), starred: false}); });
    }

    star(id, kind, starred) {
      if (!ID.test(id)) return;
      this.#change(stored => {
        const known = stored.items.find(item => item.id === id);
        if (known) known.starred = starred;
        else stored.items.push({id, kind, at: Date.now(), starred});
        stored.deleted = stored.deleted.filter(each => each !== id);
      });
    }

    delete(...ids) {
      this.#change(stored => {
        stored.items = stored.items.filter(item => !ids.includes(item.id));
        stored.deleted.push(...ids);
      });
    }

    /** Everything that the browser keeps of the visit, whichever clip is on show. */
    forget() {
      for (const key of VISIT_KEYS) localStorage.removeItem(key);
      this.#say();
    }

    #read() {
      let stored = null;
      try { stored = JSON.parse(localStorage.getItem(KEY)); } catch { /* written by somebody else */ }
      const items = Array.isArray(stored?.items) ? stored.items.filter(isItem) : [];
      const deleted = Array.isArray(stored?.deleted) ? stored.deleted.filter(id => ID.test(id)) : [];
      return {items, deleted};
    }

    #change(edit) {
      const stored = this.#read();
      edit(stored);
      stored.items.sort((one, other) => Number(other.starred) - Number(one.starred) || other.at - one.at);  // stars stay longest
      stored.items.splice(MOST);
      stored.deleted.splice(0, Math.max(0, stored.deleted.length - MOST));
      try { localStorage.setItem(KEY, JSON.stringify(stored)); } catch { /* full: the list ends with the page */ }
      this.#say();
    }

    #say() { this.dispatchEvent(new Event('change')); }
  }

  wanExplore.history = new History();
})();
