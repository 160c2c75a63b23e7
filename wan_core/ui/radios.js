// Arrow keys move within a group of radio buttons. Gradio gives each a name of its own, so that to the browser there is
// no group.
addEventListener('keydown', event => {
  const direction = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  const group = event.target.matches?.('input[type=radio]') && event.target.closest('fieldset, .block');
  if (!direction || !group || event.ctrlKey || event.metaKey || event.altKey) return;
  const radios = [...group.querySelectorAll('input[type=radio]:not(:disabled)')];
  const next = radios[(radios.indexOf(event.target) + direction + radios.length) % radios.length];
  event.preventDefault();
  next.focus();
  next.click();
});
