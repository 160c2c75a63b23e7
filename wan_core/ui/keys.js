// Ctrl+Enter, or Command+Enter, generates from wherever one types.
addEventListener('keydown', event => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
  const generate = document.getElementById('generate');
  if (!generate || !event.target.closest?.('#left')) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  generate.click();
}, true);
