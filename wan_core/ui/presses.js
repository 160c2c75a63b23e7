// One press of a button that starts or spends is one: a second click within a second, or before the first is answered,
// is dropped, and each press has a name that the server honours once. A press that was refused started nothing: the next
// one counts at once.
window.wanPresses = (() => {
  const NAMED = '#generate, #finish-again, #make-cut';  // the server answers these by the name of the press
  const BUTTONS = `${NAMED}, #expand, #explore-make, #explore-retry`;
  const APART_MS = 1000, PATIENCE_MS = 10_000;
  const last = new Map();  // button's id → {at, pending}
  let name = '';

  const nameOf = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;

  function isSecond(button, event) {
    const before = last.get(button.id), now = performance.now();
    if (before && (now - before.at < APART_MS || (before.pending && now - before.at < PATIENCE_MS))) return true;
    if (event.detail > 1 && before && now - before.at < 2 * APART_MS) return true;
    last.set(button.id, {at: now, pending: button.matches(NAMED)});
    name = nameOf();
    return false;
  }

  addEventListener('click', event => {  // in the capturing phase: before Gradio hears of it
    const button = event.target.closest?.(BUTTONS);
    if (!button || button.disabled || !isSecond(button, event)) return;
    event.stopImmediatePropagation();
    event.preventDefault();
  }, true);

  // a button of a failed job's panel asked for another try: the form holds its settings by now
  let wanted = false;
  addEventListener('click', event => {
    const act = event.target.closest?.('#status [data-act]')?.dataset.act ?? '';
    if (act) wanted = !/^(cancel|dismiss):/.test(act);
  });
  function again() {
    if (!wanted) return;
    wanted = false;
    last.delete('generate');
    setTimeout(() => document.getElementById('generate')?.click(), 300);
  }

  const answered = () => last.forEach(press => { press.pending = false; });
  const refused = () => last.delete('generate');

  return {name: () => name, answered, refused, again};
})();
