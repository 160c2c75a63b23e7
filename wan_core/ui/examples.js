// The clips of the examples: one in the empty right column, the others on their cards while pointed at or focused.
// Nothing plays by itself where less motion is wanted; the one in the column then has controls.
window.wanExamples = (() => {
  const still = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
  const isSeen = element => element.offsetParent !== null;

  function playShown(element) {
    const clip = element.querySelector('video');
    if (still()) {
      clip.controls = true;
      clip.preload = 'metadata';
    } else if (isSeen(clip)) clip.play().catch(() => {});
  }

  function card(event) {
    const button = event.target.closest?.('#examples button');
    return button && !button.contains(event.relatedTarget) ? button.querySelector('video') : null;
  }

  function play(event) {
    const clip = card(event);
    if (clip && !still()) clip.play().then(() => clip.classList.add('plays')).catch(() => {});
  }

  function rest(event) {
    const clip = card(event);
    if (!clip) return;
    clip.classList.remove('plays');
    clip.pause();
    clip.currentTime = 0;
  }

  for (const kind of ['pointerover', 'focusin']) addEventListener(kind, play);
  for (const kind of ['pointerout', 'focusout']) addEventListener(kind, rest);
  return {playShown};
})();
