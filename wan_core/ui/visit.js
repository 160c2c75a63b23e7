// What this browser knows of its visits: the jobs that are followed, for all tabs, and the clip on show, for each tab.
// The server says what was added and what is over; the store is read, merged and written at once, so that no tab
// writes back what it read a while ago.
window.wanVisit = (() => {
  const KEY = 'wan-2.2-jobs', REMEMBERED = 60;
  const list = value => Array.isArray(value) ? value : [];
  const union = (...lists) => [...new Set(lists.flat())];
  const own = {};  // this tab's, where it has no sessionStorage

  function stored() {
    try { return JSON.parse(localStorage.getItem(KEY)) ?? {}; } catch { return {}; }
  }

  function tab(value) {
    try {
      if (value !== undefined) sessionStorage.setItem(KEY, value);
      return sessionStorage.getItem(KEY);
    } catch {
      if (value !== undefined) own.clip = value;
      return own.clip;
    }
  }

  function read() {
    const known = stored();
    return {jobs: list(known.jobs), over: [], clip: tab() || known.clip || null};
  }

  // For a page that opens: a job that it has read of, and that ended in another tab since, is followed to its clip.
  function opening(visit) {
    const known = read();
    return {...known, jobs: union(list(visit?.jobs), known.jobs)};
  }

  function merge(news) {
    if (!news) return;
    const known = stored();
    const over = union(list(known.over), list(news.over)).slice(-REMEMBERED);
    const jobs = union(list(known.jobs), list(news.jobs)).filter(job => !over.includes(job));
    try { localStorage.setItem(KEY, JSON.stringify({jobs, over, clip: news.clip ?? known.clip})); } catch { /* full, or none */ }
    if (news.clip) tab(news.clip);
  }

  return {read, opening, merge};
})();
