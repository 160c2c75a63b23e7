// Between the page and the Explore tab: Vary buttons at the knobs, patches for the grid, copied links, the new grid in
// sight.
window.wanVary = (() => {
  if (wanRoot.showsSweep()) document.documentElement.classList.add('show-sweep');

  /** Hand the patches in `element` to the player. */
  function patch(element) {
    const text = element.querySelector('[data-patches]')?.dataset.patches;
    if (text) window.wanExplore?.update?.(JSON.parse(text));
  }

  /** A small button at each knob that can be varied. */
  function addButtons(names) {
    for (const name of names) {
      const field = document.getElementById(name);
      if (!field || field.querySelector(':scope .vary')) continue;
      const button = document.createElement('button');
      Object.assign(button, {type: 'button', className: 'vary not-in-embed', textContent: wanWord('Vary')});
      button.title = wanWord('Compare several values of this setting in a grid');
      button.setAttribute('aria-label', wanWord('Vary {setting}', {setting: window.wanWords ? labelOf(field) : name.replaceAll('_', ' ')}));
      button.addEventListener('click', event => {
        event.preventDefault();
        event.stopPropagation();
        document.dispatchEvent(new CustomEvent('wan:vary', {detail: {vary: name}}));
      });
      field.append(button);
    }
  }

  const labelOf = field => field.querySelector('[data-testid=block-info]')?.textContent.trim() ?? '';

  /** Show `Vary` wherever its knob is on the page, and tell `press` which was pressed. */
  function listen(names, press) {
    addButtons(names);
    new MutationObserver(() => addButtons(names)).observe(document.body, {childList: true, subtree: true});
    document.addEventListener('wan:vary', event => press(event.detail));
  }

  /** Copy a link and say so at the grid. */
  async function copied(queryText) {
    if (!queryText) return;
    const link = `${location.origin}${location.pathname}?${queryText.split(' ')[0]}`;
    try { await navigator.clipboard.writeText(link); } catch { prompt(wanWord('Copy this link:'), link); }
  }

  /** A grid that was asked for lies below the fold: bring it up, with “Cancel all” above it. */
  let isAwaited = false;
  document.addEventListener('click', event => { if (event.target.closest?.('#explore-make')) isAwaited = true; });
  wanExplore.onGrid(() => {
    if (!isAwaited) return;
    isAwaited = false;
    const behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth';
    document.getElementById('explore-buttons')?.scrollIntoView({block: 'start', behavior});
  });

  return {patch, listen, copied};
})();
