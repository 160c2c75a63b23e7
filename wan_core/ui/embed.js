// What an embedded page tells its host, and what the host's address asks of it. No message carries a prompt.
window.wanEmbed = (() => {
  const asked = new URLSearchParams(wanRoot.query());
  const isEmbedded = asked.get('embed') === '1' && !wanRoot.isGuest() && parent !== window;
  const words = name => (asked.get(name) ?? '').split(',').map(word => word.trim()).filter(Boolean);
  const post = (type, facts = {}) => { if (isEmbedded) parent.postMessage({type, ...facts}, '*'); };

  function lock() {  // lock=prompt,resolution: the visitor sees these but does not change them
    for (const field of words('lock')) document.getElementById(field)?.setAttribute('inert', '');
  }

  function show() {  // show=examples,chips: parts that an embed leaves out otherwise
    for (const part of words('show')) {  // Gradio repeats a part's classes on what is inside it
      const element = document.getElementById(part);
      for (const each of [element, ...(element?.querySelectorAll('.not-in-embed') ?? [])]) each?.classList.remove('not-in-embed');
    }
  }

  let ready = false, height = 0;
  function look() {
    if (!document.getElementById('generate')) return;
    lock();
    show();
    const link = document.querySelector('#embed-line a');
    if (link && !link.href.includes('?')) link.href = wanRoot.page() + `?${withoutEmbed()}`;
    if (!ready) { ready = true; post('wan:ready'); }
    const now = Math.ceil(document.querySelector('.gradio-container')?.getBoundingClientRect().height ?? 0);
    if (now && now !== height) { height = now; post('wan:height', {height}); }
  }

  function withoutEmbed() {
    const rest = new URLSearchParams(asked);
    for (const name of ['embed', 'lock', 'show']) rest.delete(name);
    return rest.toString();
  }

  let seen = '';
  function finished() {
    const clip = document.querySelector('#player video[data-job]'), failed = document.querySelector('#status .failed');
    const now = clip?.dataset.job ?? '';
    if (now && now !== seen) post('wan:done', {job: now, url: wanRoot.address(`files/${now}.mp4`)});
    seen = now;
    if (failed && !failed.dataset.told) { failed.dataset.told = 'yes'; post('wan:error', {job: failed.dataset.job}); }
  }

  // Anywhere but in the page itself, a link to a clip's settings opens a tab of its own, at the app's address.
  function leadOut() {
    const link = document.querySelector('#clip-link[href^="?"]');
    if (!link) return;
    link.href = wanRoot.page() + link.getAttribute('href');
    link.target = '_blank';
    link.rel = 'noopener';
  }
  if (asked.get('embed') === '1' || wanRoot.isGuest() || parent !== window) {
    new MutationObserver(leadOut).observe(document, {childList: true, subtree: true});
  }

  if (asked.get('embed') === '1') new MutationObserver(() => { look(); finished(); }).observe(document, {childList: true, subtree: true});
})();
