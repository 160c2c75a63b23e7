// How long the line is, and why nothing can begin, is asked again after a while, and when a clip has come.
window.wanOutlook = (() => {
  let clock, ask = () => {};

  function follow(element, submit) {
    clearInterval(clock);
    const line = element.querySelector('[data-again-s]');
    ask = () => { if (line?.isConnected && !document.hidden) submit(); };
    if (line) clock = setInterval(() => ask(), 1000 * line.dataset.againS);
  }

  return {follow, ask: () => ask()};
})();
