// Where the app is: this document, or the address in the src of a <gradio-app> that a host's page holds. Every address
// that the page fetches and every query that it reads comes from here.
window.wanRoot = (() => {
  const host = () => document.querySelector('gradio-app[src]');
  const home = () => host() ? new URL(host().getAttribute('src'), location.href) : new URL(location.href);
  const isGuest = () => host() !== null;
  const query = () => home().search;
  const page = () => home().origin + home().pathname;

  function address(path) {
    const base = page();
    return new URL(path, base.endsWith('/') || base === `${location.origin}${location.pathname}` ? base : `${base}/`).href;
  }

  // Addresses inside our own HTML are written as data-src and data-href: a relative one would mean the host's.
  function fill() {
    for (const name of ['src', 'href']) {
      for (const element of document.querySelectorAll(`[data-${name}]`)) {
        element.setAttribute(name, address(element.dataset[name]));
        element.removeAttribute(`data-${name}`);
      }
    }
  }

  new MutationObserver(fill).observe(document, {childList: true, subtree: true});

  function markEmbed() {
    if (new URLSearchParams(query()).get('embed') === '1') (host() ?? document.documentElement).classList.add('embed');
  }
  markEmbed();
  addEventListener('DOMContentLoaded', markEmbed);

  /** Whether the address shows somebody's grid. In an embed, `show` also names parts of the page. */
  function showsSweep() {
    const asked = new URLSearchParams(query()), shown = asked.get('show');
    return shown !== null && (asked.get('embed') !== '1' || /^[0-9a-f-]{36}$/.test(shown));
  }

  return {address, fill, isGuest, page, query, showsSweep};
})();
