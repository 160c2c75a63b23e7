// The form as it was last, for a reload of this tab and for the next visit. The server says what to keep, and judges what
// comes back; a link with settings of its own goes before it, unless the same address is loaded again.
window.wanForm = (() => {
  const KEY = 'wan-2.2-form';
  const stores = () => ['sessionStorage', 'localStorage'].map(name => { try { return window[name]; } catch { return null; } });

  function keep(form) {
    if (!form) return;
    const text = JSON.stringify({query: wanRoot.query(), form});
    for (const store of stores()) try { store?.setItem(KEY, text); } catch { /* full, or none */ }
  }

  function read() {
    const [tab, browser] = stores().map(store => { try { return JSON.parse(store?.getItem(KEY)); } catch { return null; } });
    const kept = tab ?? browser;
    const isReload = tab !== null && tab !== undefined && tab.query === wanRoot.query();
    return JSON.stringify({query: wanRoot.query(), form: kept?.form ?? '', first: isReload});
  }

  return {keep, read};
})();
