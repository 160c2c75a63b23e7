// What cannot be used is listed at the button, and repeated at its field. After a press, and for each link of the list:
// the field's section opens, the page scrolls there, and the field has the focus.
window.wanFaults = (() => {
  const links = () => [...document.querySelectorAll('#faults [data-field]')];

  function show() {
    document.querySelectorAll('.at-field').forEach(old => old.remove());
    document.querySelectorAll('[aria-invalid]').forEach(box => box.removeAttribute('aria-invalid'));
    links().forEach(mark);
    const list = document.querySelector('#faults [data-pressed]');
    if (!list || list.dataset.shown) return;
    list.dataset.shown = 'yes';
    const [first] = links();
    if (first) go(first);
  }

  function mark(link) {
    const field = document.getElementById(link.dataset.field);
    if (!field) return;  // its section is closed
    const sentence = document.createElement('p');
    sentence.className = 'fault at-field';
    sentence.textContent = link.textContent;
    sentence.dataset.of = field.id;
    entry(field)?.setAttribute('aria-invalid', 'true');
    field.id === 'picture' ? field.after(sentence) : field.append(sentence);  // a picture's box has a fixed height
  }

  const entry = field => field.querySelector('textarea, input:not([type=file]):not([type=range])')
    ?? field.querySelector('button, input');

  async function go(link) {
    const section = document.getElementById(link.dataset.section);
    const opener = section?.querySelector(':scope > button');
    if (opener && !opener.classList.contains('open')) opener.click();
    const field = await appeared(link.dataset.field);
    if (!field) return;
    if (!document.querySelector(`.at-field[data-of=${field.id}]`)) mark(link);
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
    field.scrollIntoView({block: 'center', behavior: still ? 'auto' : 'smooth'});
    entry(field)?.focus({preventScroll: true});
  }

  async function appeared(id) {
    for (let tries = 0; tries < 40; tries++) {
      const field = document.getElementById(id);
      if (field && field.offsetParent !== null) return field;
      await new Promise(done => setTimeout(done, 50));
    }
  }

  addEventListener('click', event => {
    const link = event.target.closest?.('#faults [data-field]');
    if (!link) return;
    event.preventDefault();
    go(link);
  });

  return {show};
})();
