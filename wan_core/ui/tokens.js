// How much of a prompt the model reads, said while it is typed. An estimate: the model's own count is made with its
// vocabulary, where the clip is made, and the result says what was cut.
window.wanTokens = (() => {
  // tokens of UMT5's vocabulary: short words one, longer ones one more every few letters, two for three Chinese signs
  const RUNS = /[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[A-Za-z\u00c0-\u024f]+|\d+|\p{L}+|[^\s\p{L}\d]/gu;

  function about(text) {
    let tokens = 1;  // the mark at the end
    for (const [run] of text.matchAll(RUNS)) {
      if (/^[\u3040-\u9fff\uac00-\ud7af]/.test(run)) tokens += run.length * 2 / 3;
      else if (/^\d/.test(run)) tokens += Math.ceil(run.length / 2);
      else if (/^[A-Za-z\u00c0-\u024f]/.test(run)) tokens += 1 + Math.floor((run.length - 1) / 5);
      else tokens += 1 + Math.floor((run.length - 1) / 4);
    }
    return Math.round(tokens);
  }

  function say(box) {
    const line = document.getElementById(`${box.closest('[id]').id}-tokens`);
    if (!line) return;
    const tokens = about(box.value), limit = Number(line.dataset.limit);
    line.hidden = !box.value.trim();
    line.classList.toggle('over', tokens > limit);
    line.textContent = tokens > limit
      ? wanWord('about {tokens} of {limit} tokens: the end may not be read, put what matters first', {tokens, limit})
      : wanWord('about {tokens} of {limit} tokens', {tokens, limit});
  }

  const boxes = () => document.querySelectorAll('#prompt textarea, #negative_prompt textarea');
  addEventListener('input', event => { if ([...boxes()].includes(event.target)) say(event.target); });
  const values = new WeakMap();  // presets, chips and examples change a box without an event
  setInterval(() => boxes().forEach(box => {
    if (values.get(box) !== box.value) { values.set(box, box.value); say(box); }
  }), 500);

  return {about};
})();
