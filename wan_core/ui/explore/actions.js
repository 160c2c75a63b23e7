// The buttons of a cell. Each press bubbles as `wan:cell-action` {action, job, time}; what needs no server is done here
// unless a listener prevents it: hide, download.
(() => {
  document.addEventListener('click', event => {
    const button = event.target.closest?.('.explore-grid .actions [data-action]');
    if (!button || button.disabled) return;
    const cell = button.closest('.cell'), video = cell.querySelector('video'), {action} = button.dataset;
    const detail = {action, job: cell.dataset.job, time: momentOf(cell, video)};
    const act = new CustomEvent('wan:cell-action', {bubbles: true, cancelable: true, detail});
    if (button.dispatchEvent(act)) ({hide, download})[action]?.(cell, button);
  });

  // the frame on show; while others are compared, theirs
  function momentOf(cell, video) {
    const clock = wanExplore.gridOf(cell.closest('.explore-grid'))?.clock;
    if (!clock || clock.has(video) || !clock.duration) return video?.currentTime ?? 0;
    return Math.min(clock.time, video.duration || clock.time);
  }

  function hide(cell, button) {
    const hidden = cell.classList.toggle('dismissed');
    button.dataset.word ??= button.textContent;
    button.textContent = hidden ? wanWord('Show') : button.dataset.word;
    cell.dispatchEvent(new CustomEvent('wan:arrange', {bubbles: true}));
  }

  function download(cell) {
    const link = document.createElement('a');
    link.href = wanExplore.cells.addressOf(cell);
    link.download = `wan-${cell.dataset.job.slice(0, 8)}.mp4`;
    link.click();
  }
})();
