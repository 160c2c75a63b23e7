// A page of another origin may lay anything over a frame of ours: no secret is typed there.
(() => {
  let foreign = false;
  try { foreign = window.top.location.origin !== window.location.origin; } catch { foreign = true; }
  if (foreign) document.documentElement.classList.add('foreign-frame');
})();
