// What runs, outside the panel: the tab's title, and one sentence for screen readers at each stage and each quarter.
window.wanStatus = (() => {
  let title = '', said = '';
  const running = new Set();

  function show(element) {
    title ||= document.title;
    const panels = [...element.querySelectorAll('.panel')];
    const panel = panels.find(each => each.classList.contains('running')) ?? panels[0];
    if (!wanRoot.isGuest()) document.title = panel ? `${panel.dataset.title} · ${title}` : title;
    panels.filter(each => each.classList.contains('running')).forEach(each => running.add(each.dataset.job));
    const key = panel ? `${panel.dataset.job} ${panel.dataset.announce}` : '';
    if (key === said) return;
    said = key;
    const live = document.getElementById('announcement');
    if (live && panel) live.textContent = panel.dataset.announce;
  }

  // the clip of a job that ran here is on show
  function done(job) {
    if (!running.delete(job)) return;
    const live = document.getElementById('announcement');
    if (live) live.textContent = wanWord('Your clip is ready.');
    if (!document.hidden || wanRoot.isGuest()) return;
    document.title = `✓ ${wanWord('Your clip is ready')} · ${title}`;
    addEventListener('visibilitychange', () => { document.title = title; }, {once: true});
  }

  return {show, done};
})();
